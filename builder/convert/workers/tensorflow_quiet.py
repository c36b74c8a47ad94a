"""Imported before TensorFlow: its own kernels, which give the same numbers every time, no GPU, and silence.

Stands beside the workers; needs nothing.
"""

import logging
import os
import warnings

os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "0", "CUDA_VISIBLE_DEVICES": "-1"}
logging.disable(logging.ERROR)
warnings.filterwarnings("ignore")
