"""The recurrent language model, its state, and its match model.

It must not know tokenizers, training or sampling.

Import from the modules: `config` and `match`, which need no torch, `state`, `cells`,
`language_model`, `stepper`.
"""
