"""Making demonstrations: an expert is trained, or a policy is taken, and its episodes recorded.

This stands above `l2l_gail.demos`, which reads and holds them, and above `l2l_gail.gail`, whose
models it records. ``python -m l2l_gail.demos record`` is its command; to play episodes alone is
:func:`l2l_gail.demos.record.record_episodes`.
"""
