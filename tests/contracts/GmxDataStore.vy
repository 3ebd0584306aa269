# pragma version 0.4.3
# Reference contract of the interface of GMX v2's DataStore: typed values and address sets by key, here
# written by anyone.

getUint: public(HashMap[bytes32, uint256])
getInt: public(HashMap[bytes32, int256])
getBool: public(HashMap[bytes32, bool])
getAddress: public(HashMap[bytes32, address])
containsAddress: public(HashMap[bytes32, HashMap[address, bool]])


@external
def setUint(key: bytes32, item: uint256):
    self.getUint[key] = item


@external
def setInt(key: bytes32, item: int256):
    self.getInt[key] = item


@external
def setBool(key: bytes32, item: bool):
    self.getBool[key] = item


@external
def setAddress(key: bytes32, item: address):
    self.getAddress[key] = item


@external
def addAddress(key: bytes32, item: address):
    self.containsAddress[key][item] = True
