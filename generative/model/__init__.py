"""The recurrent language model: knows tensors and layers, not tokenizers, training or sampling.

Import from the modules: `config` (needs no torch), `state`, `cells`, `language_model`, `stepper`.
"""
