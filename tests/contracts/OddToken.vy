# Reference contract of the ERC-20 metadata that tokens get wrong: symbol as bytes32 (as MKR has it).
# pragma version 0.4.3

decimals: public(uint8)
symbol: public(bytes32)


@deploy
def __init__(decimals: uint8, symbol: bytes32):
    self.decimals = decimals
    self.symbol = symbol
