"""The recurrent language model and its state.

It must not know tokenizers, training or sampling.

Import from the modules: `config`, which needs no torch, `state`, `cells`, `language_model`,
`stepper`.
"""
