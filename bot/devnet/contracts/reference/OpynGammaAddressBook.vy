# Reference, not the protocol: implements the documented ABI subset of Opyn Gamma's AddressBook with honest minimal economics.
# pragma version ==0.4.3
"""
@title Where the parts of one Gamma system lie
"""

owner: public(address)
getOtokenImpl: public(address)
getOtokenFactory: public(address)
getWhitelist: public(address)
getController: public(address)
getMarginPool: public(address)
getOracle: public(address)


@deploy
def __init__():
    self.owner = msg.sender


@external
def setOtokenImpl(implementation: address):
    self._only_owner()
    self.getOtokenImpl = implementation


@external
def setOtokenFactory(factory: address):
    self._only_owner()
    self.getOtokenFactory = factory


@external
def setWhitelist(whitelist: address):
    self._only_owner()
    self.getWhitelist = whitelist


@external
def setController(controller: address):
    self._only_owner()
    self.getController = controller


@external
def setMarginPool(pool: address):
    self._only_owner()
    self.getMarginPool = pool


@external
def setOracle(oracle: address):
    self._only_owner()
    self.getOracle = oracle


@view
@internal
def _only_owner():
    assert msg.sender == self.owner, "Ownable: caller is not the owner"
