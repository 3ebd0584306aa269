# Reference contract of an owner that is a contract (EIP-1271), as a Safe is: it agrees to the digests that it
# was told, and to nothing else. What it is told to answer stands for one that misbehaves.
# pragma version 0.4.3

MAGIC: constant(bytes4) = 0x1626ba7e

agreed: public(HashMap[bytes32, bool])
answer: public(bytes4)


@deploy
def __init__():
    self.answer = MAGIC


@external
def agree(digest: bytes32):
    self.agreed[digest] = True


@external
def set_answer(answer: bytes4):
    self.answer = answer


@external
@view
def isValidSignature(digest: bytes32, signature: Bytes[1024]) -> bytes4:
    assert len(signature) > 0, "no signature"
    return self.answer if self.agreed[digest] else 0xffffffff
