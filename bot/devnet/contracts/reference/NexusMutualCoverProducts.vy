# Reference, not the protocol: implements the documented ABI subset of Nexus Mutual's CoverProducts with honest minimal economics.
# pragma version ==0.4.3
"""
@title What can be covered
@dev Own code, not Nexus Mutual's.
"""

struct Product:
    productType: uint16
    minPrice: uint16
    __gap: uint144
    coverAssets: uint32
    initialPriceRatio: uint16
    capacityReductionRatio: uint16
    isDeprecated: bool
    useFixedPrice: bool

struct ProductType:
    claimMethod: uint8
    gracePeriod: uint32
    assessmentCooldownPeriod: uint32
    payoutRedemptionPeriod: uint32

owner: public(immutable(address))
products: DynArray[Product, 64]
names: DynArray[String[64], 64]
types: DynArray[ProductType, 16]


@deploy
def __init__():
    owner = msg.sender


@external
def addProductType(kind: ProductType):
    """
    @notice Not the protocol's form of it: one at a time, as are products
    """
    assert msg.sender == owner, "owner only"
    self.types.append(kind)


@external
def addProduct(product: Product, name: String[64]):
    assert msg.sender == owner, "owner only"
    self.products.append(product)
    self.names.append(name)


@external
def setDeprecated(productId: uint256, isDeprecated: bool):
    assert msg.sender == owner, "owner only"
    self.products[productId].isDeprecated = isDeprecated


@view
@external
def getProductCount() -> uint256:
    return len(self.products)


@view
@external
def getProducts() -> DynArray[Product, 64]:
    return self.products


@view
@external
def getProduct(productId: uint256) -> Product:
    return self.products[productId]


@view
@external
def getProductName(productId: uint256) -> String[64]:
    return self.names[productId]


@view
@external
def getProductWithType(productId: uint256) -> (Product, ProductType):
    if productId >= len(self.products):
        raw_revert(method_id("ProductNotFound()"))
    product: Product = self.products[productId]
    return product, self.types[product.productType]
