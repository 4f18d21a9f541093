"""The Vision Transformer as plain PyTorch modules. Read `vit.py` first: images -> tokens -> logits, top to bottom.

Nothing in this room prints, saves, downloads or knows about ranks. One legend for every shape:

    B batch    C channels    H W pixels    h w patch grid    p q pixels of a patch    T semantic tokens
    N tokens = R + h * w (or R + T)    R tokens in front: class token, distillation token, registers
    D embed_dim    A heads    K head_dim, A * K = D    F mlp_dim; in a ResNet channels of a map    L depth    Y classes
"""
