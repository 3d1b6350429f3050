"""The networks: sparse convolution (`sparse` hides the device), backbones, losses, the segmentor.

To add a backbone, add a file here that registers its class in ``BACKBONES``. May import `kernels`
and `data`; `sparse_library` alone imports spconv, when something convolves on CUDA.
"""
