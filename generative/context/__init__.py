"""Context features: what the tokens so far say about the music, as a further input of a network.

It must not know ids or networks.
"""
