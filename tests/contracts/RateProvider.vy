# pragma version 0.4.3
# Reference contract of the interface of Balancer's IRateProvider. The rate is set.

getRate: public(uint256)


@deploy
def __init__(rate: uint256):
    self.getRate = rate
