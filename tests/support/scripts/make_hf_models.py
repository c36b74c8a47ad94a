"""Writes a small model of each task, random but fixed, as save_pretrained and sentence-transformers write them.

    PYTHON make_hf_models.py DIRECTORY

PYTHON is that of the converter's environment. ``sentences`` is a layout of sentence-transformers made by hand.
"""

import json
import os
import shutil
import sys
from pathlib import Path

import tokenizers
import torch
import transformers

PLACE = Path(sys.argv[1])
SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
TEXT = {**SMALL, "vocab_size": 60, "max_position_embeddings": 40}
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
LETTERS = [chr(number) for number in range(ord("a"), ord("z") + 1)]
VOCABULARY = [*SPECIAL, *LETTERS, *(f"##{letter}" for letter in LETTERS), ".", ",", "!"]
ENTITIES = {0: "O", 1: "B-PER", 2: "I-PER"}


def varied(model):
    """Biases are zero and norms one in a fresh model: a graph that loses them would not be seen."""
    numbers = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=numbers) * 0.1)
        for name, buffer in model.named_buffers():
            if "running" in name:
                buffer.add_(torch.rand(buffer.shape, generator=numbers))
    return model.eval()


def save(name, model, **more):
    varied(model).save_pretrained(PLACE / name, **more)


def bert_tokenizer(name, **more):
    (PLACE / name).mkdir(exist_ok=True)
    (PLACE / name / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n")
    settings = {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": 512, **more}
    (PLACE / name / "tokenizer_config.json").write_text(json.dumps(settings))


def bpe_tokenizer(name):
    """A byte-level BPE that joins nothing, saved as transformers saves it."""
    letters = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate(["<s>", "<pad>", "</s>", *letters])}
    bare = tokenizers.Tokenizer(tokenizers.models.BPE(vocab=vocabulary, merges=[]))
    bare.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    bare.decoder = tokenizers.decoders.ByteLevel()
    ends = [("<s>", 0), ("</s>", 2)]
    bare.post_processor = tokenizers.processors.TemplateProcessing(single="<s> $A </s>", special_tokens=ends)
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=bare, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="</s>"
    ).save_pretrained(PLACE / name)
    return len(vocabulary)


def sentences():
    """In a subdirectory, cut off at 24 tokens, with a layer behind the mean, saved with the head that it was trained
    with and without a pooler."""
    root, inner = PLACE / "sentences", PLACE / "sentences" / "0_Transformer"
    save("sentences/0_Transformer", transformers.BertForMaskedLM(transformers.BertConfig(**TEXT)))
    bert_tokenizer("sentences/0_Transformer")
    (inner / "sentence_bert_config.json").write_text('{"max_seq_length": 24, "do_lower_case": false}')
    kinds = ("Transformer", "Pooling", "Dense", "Normalize")
    parts = [(f"{number}_{kind}", f"sentence_transformers.models.{kind}") for number, kind in enumerate(kinds)]
    modules = [{"idx": n, "name": str(n), "path": path, "type": kind} for n, (path, kind) in enumerate(parts)]
    (root / "modules.json").write_text(json.dumps(modules))
    pooling, dense = root / "1_Pooling", root / "2_Dense"
    for place in (pooling, dense):
        place.mkdir()
    modes = {"pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": True, "pooling_mode_cls_token": False}
    (pooling / "config.json").write_text(json.dumps({"word_embedding_dimension": 16, **modes}))
    activation = "torch.nn.modules.activation.Tanh"
    shape = {"in_features": 32, "out_features": 8, "bias": True, "activation_function": activation}
    (dense / "config.json").write_text(json.dumps(shape))
    torch.manual_seed(1)
    layer = torch.nn.Linear(32, 8)
    weights = {f"linear.{name}": tensor for name, tensor in layer.state_dict().items()}
    torch.save(weights, dense / "pytorch_model.bin")


def texts():
    bert = transformers.BertConfig(**TEXT)
    save("encoder", transformers.BertModel(bert))
    bert_tokenizer("encoder")
    labels = {"id2label": {0: "bad", 1: "fine", 2: "good"}, "label2id": {"bad": 0, "fine": 1, "good": 2}}
    save("classifier", transformers.BertForSequenceClassification(transformers.BertConfig(**TEXT, **labels)))
    bert_tokenizer("classifier")
    several = transformers.DistilBertConfig(
        vocab_size=60, dim=16, n_layers=2, n_heads=2, hidden_dim=32, max_position_embeddings=40,
        problem_type="multi_label_classification", num_labels=2,
    )  # fmt: skip
    save("labels", transformers.DistilBertForSequenceClassification(several))
    bert_tokenizer("labels")
    size = bpe_tokenizer("entities")
    roberta = transformers.RobertaConfig(**{**TEXT, "vocab_size": size}, type_vocab_size=1, id2label=ENTITIES)
    save("entities", transformers.RobertaForTokenClassification(roberta), max_shard_size="8KB")


def generators():
    gpt2 = transformers.GPT2Config(vocab_size=60, n_embd=16, n_layer=2, n_head=2, n_positions=40)
    save("gpt2", transformers.GPT2LMHeadModel(gpt2))
    llama = transformers.LlamaConfig(**TEXT, num_key_value_heads=1, head_dim=8)
    save("llama", transformers.LlamaForCausalLM(llama))
    t5 = transformers.T5Config(vocab_size=60, d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2)
    t5.decoder_start_token_id = 0
    save("t5", transformers.T5ForConditionalGeneration(t5))


def images_and_sound():
    names = {0: "cat", 1: "dog", 2: "bird"}
    vit = transformers.ViTConfig(**SMALL, image_size=32, patch_size=8, id2label=names)
    save("vit", transformers.ViTForImageClassification(vit))
    transformers.ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(PLACE / "vit")
    resnet = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic", id2label=names
    )
    save("resnet", transformers.ResNetForImageClassification(resnet))
    processor = transformers.ConvNextImageProcessor(size={"shortest_edge": 32}, crop_pct=0.875)
    processor.save_pretrained(PLACE / "resnet")
    wav2vec2 = transformers.Wav2Vec2Config(
        **SMALL, vocab_size=12, conv_dim=[8] * 7, num_conv_pos_embeddings=8, num_conv_pos_embedding_groups=2
    )
    save("wav2vec2", transformers.Wav2Vec2ForCTC(wav2vec2))


class Evil:
    def __reduce__(self):
        return os.system, (f"touch {PLACE / 'canary'}",)


def refused():
    """What must not be loaded: pickled weights that call, code beside the weights, and weights that are not whole."""
    for name in ("pickle", "code", "lacking", "unknown", "short", "mute"):
        shutil.copytree(PLACE / "classifier", PLACE / name)
    (PLACE / "pickle" / "model.safetensors").unlink()
    torch.save({"weight": torch.zeros(1), "more": Evil()}, PLACE / "pickle" / "pytorch_model.bin")
    change("code", auto_map={"AutoModelForSequenceClassification": "modeling_own.Own"}, architectures=["Own"])
    (PLACE / "code" / "modeling_own.py").write_text(
        f"import pathlib\npathlib.Path({str(PLACE / 'canary')!r}).touch()\n"
        "from transformers import BertForSequenceClassification\nclass Own(BertForSequenceClassification): pass\n"
    )
    varied(transformers.BertModel(transformers.BertConfig(**TEXT))).save_pretrained(PLACE / "lacking")
    change("lacking", architectures=["BertForSequenceClassification"])
    change("unknown", architectures=["BartleFormerModel"])
    with (PLACE / "short" / "model.safetensors").open("r+b") as file:
        file.truncate(file.seek(0, os.SEEK_END) - 64)
    (PLACE / "mute" / "vocab.txt").unlink()
    (PLACE / "mute" / "tokenizer.json").write_text('{"version": "1.0", "model": {}}')


def change(name, **settings):
    path = PLACE / name / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))


if __name__ == "__main__":
    torch.manual_seed(0)
    sentences()
    texts()
    generators()
    images_and_sound()
    refused()
