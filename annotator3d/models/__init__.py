"""The networks: sparse convolution (`sparse` hides the device), backbones, losses, the segmentor.

A backbone is one file here that registers its class in ``BACKBONES``; the registry finds it. May
import `kernels` and `data`; `sparse_cuda` alone imports spconv, when something convolves on CUDA.
"""
