# Reference mathematics of Curve's StableSwap, for the reference pools beside it: Newton's iterations of the
# StableSwap whitepaper, A n^n sum(x) + D = A D n^n + D^(n+1) / (n^n prod(x)), for two coins.

N: constant(uint256) = 2


@internal
@pure
def invariant(xp: uint256[2], amp: uint256) -> uint256:
    total: uint256 = xp[0] + xp[1]
    if total == 0:
        return 0
    d: uint256 = total
    ann: uint256 = amp * N * N
    for i: uint256 in range(255):
        d_p: uint256 = d
        for x: uint256 in xp:
            d_p = d_p * d // (x * N)
        before: uint256 = d
        d = (ann * total + d_p * N) * d // ((ann - 1) * d + (N + 1) * d_p)
        if (d - before if d > before else before - d) <= 1:
            break
    return d


@internal
@pure
def other_balance(x: uint256, xp: uint256[2], amp: uint256) -> uint256:
    """The balance of the other coin when one has become x."""
    d: uint256 = self.invariant(xp, amp)
    ann: uint256 = amp * N * N
    c: uint256 = d * d // (x * N) * d // (ann * N)
    b: uint256 = x + d // ann
    y: uint256 = d
    for i: uint256 in range(255):
        before: uint256 = y
        y = (y * y + c) // (2 * y + b - d)
        if (y - before if y > before else before - y) <= 1:
            break
    return y
