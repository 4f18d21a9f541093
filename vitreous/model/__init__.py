"""The Vision Transformer as plain PyTorch modules. Read `vit.py` first: images -> tokens -> logits, top to bottom.

Nothing in this room prints, saves, downloads or knows about ranks. One legend for every shape:

    B batch    C channels    H W pixels        h w patch grid    N tokens = R + h * w    R class token and registers
    D embed_dim    A heads    K head_dim, A * K = D    F mlp_dim    L depth    Y classes
"""
