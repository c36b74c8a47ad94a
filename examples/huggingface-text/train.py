# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = ["django==5.2.19", "tokenizers==0.23.3", "torch==2.13.0", "transformers==5.23.0"]
# ///
"""Trains a tiny BERT to tell eight languages apart, on the messages of Django in their translations, and saves it here.

    uv run examples/huggingface-text/train.py

makes an environment of its own (add `--find-links DIR` where DIR has a CPU wheel of torch; PyPI's brings CUDA). Nothing
of this is needed to build the image.
"""

import ast
import re
from pathlib import Path

import django
import tokenizers
import torch
import transformers

HERE = Path(__file__).resolve().parent
LANGUAGES = ["de", "en", "es", "fr", "it", "nl", "pl", "sv"]
LENGTH = 48
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def messages(language: str) -> dict[str, str]:
    """Django's messages in a language by their English text, without what the program fills in."""
    found = {}
    for path in sorted(Path(django.__file__).parent.rglob(f"locale/{language}/LC_MESSAGES/django.po")):
        for block in path.read_text(encoding="utf-8").split("\n\n"):
            pair = re.search(r'^msgid ((?:".*"\n?)+)^msgstr ((?:".*"\n?)+)', block, re.MULTILINE)
            if pair is None or "fuzzy" in block:
                continue
            english, text = (clean("".join(map(ast.literal_eval, side.splitlines()))) for side in pair.groups())
            if english and text:
                found[english] = text
    return found


def clean(text: str) -> str:
    return " ".join(re.sub(r"%\(\w+\)\w|%\w|\{\w*\}", " ", text).split())


def examples() -> list[tuple[str, int, bool]]:
    """Text, language, and whether it is held out: the same tenth of the messages in all languages."""
    translated = {language: messages(language) for language in LANGUAGES if language != "en"}
    ids = sorted(set.intersection(*(set(found) for found in translated.values())))
    made = []
    for number, english in enumerate(ids):
        texts = [translated[language][english] if language != "en" else english for language in LANGUAGES]
        # A name that is the same everywhere says nothing.
        made += [(text, label, number % 10 == 0) for label, text in enumerate(texts) if texts.count(text) == 1]
    return made


def tokenizer(texts: list[str]) -> transformers.PreTrainedTokenizerFast:
    bare = tokenizers.Tokenizer(tokenizers.models.WordPiece(unk_token=SPECIAL[1]))
    bare.normalizer = tokenizers.normalizers.BertNormalizer(strip_accents=False)
    bare.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    trainer = tokenizers.trainers.WordPieceTrainer(vocab_size=1000, special_tokens=SPECIAL, show_progress=False)
    bare.train_from_iterator(texts, trainer)
    ends = [(token, bare.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    bare.post_processor = tokenizers.processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    names = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=bare, model_max_length=LENGTH, **dict(zip(names, SPECIAL, strict=True))
    )


def main() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    known = examples()
    words = tokenizer([text for text, _, held_out in known if not held_out])
    config = transformers.BertConfig(
        vocab_size=len(words), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=LENGTH, type_vocab_size=1, id2label=dict(enumerate(LANGUAGES)),
        label2id={language: label for label, language in enumerate(LANGUAGES)},
    )  # fmt: skip
    model = transformers.BertForSequenceClassification(config)

    def asked(rows: list[tuple[str, int, bool]]) -> dict[str, torch.Tensor]:
        found = words([text for text, _, _ in rows], padding=True, truncation=True, return_tensors="pt")
        return {name: found[name] for name in ("input_ids", "attention_mask")}

    training = [row for row in known if not row[2]]
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    slower = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.85)
    for _ in range(16):
        for batch in torch.randperm(len(training)).split(32):
            rows = [training[number] for number in batch.tolist()]
            optimizer.zero_grad()
            model(**asked(rows), labels=torch.tensor([label for _, label, _ in rows])).loss.backward()
            optimizer.step()
        slower.step()
    model.eval()
    rest = [row for row in known if row[2]]
    with torch.no_grad():
        guessed = model(**asked(rest)).logits.argmax(1).tolist()
    right = sum(guess == label for guess, (_, label, _) in zip(guessed, rest, strict=True))
    print(f"{len(training)} messages learned; {right} of {len(rest)} held-out messages right")
    model.save_pretrained(HERE)
    words.save_pretrained(HERE)


if __name__ == "__main__":
    main()
