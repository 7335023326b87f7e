"""Models and their lineage."""

from tests.contracts.world import Refusal, World, h


def test_a_party_of_a_success_registers_a_model(world: World) -> None:
    job = world.succeeded()
    register = world.models.functions.register(job, world.shop_site, h("model"), [], 5)
    receipt = world.send(register, "shop_node")
    model = bytes(world.models.functions.modelIdFor(world.address("shop_node"), 5).call())

    found = world.models.functions.model(model).call()
    assert found == (h("model"), job, world.shop_site, world.block, 0, [])
    assert world.models.functions.modelsOf(job).call() == [model]
    registered = {
        "id": model,
        "job": job,
        "modelDigest": h("model"),
        "registrar": world.shop_site,
    }
    assert world.events(receipt, world.models) == [("ModelRegistered", registered)]
    assert world.refusal(register, "shop_node") == Refusal("ModelTaken", (model,))


def test_a_model_names_its_parents(world: World) -> None:
    parent = world.registered_model()
    job = world.succeeded()
    register = world.models.functions.register(job, world.bank_site, h("next"), [parent], 5)
    world.send(register, "bank_node")
    model = bytes(world.models.functions.modelIdFor(world.address("bank_node"), 5).call())
    assert world.models.functions.model(model).call()[5] == [parent]


def test_parents_are_known_and_at_most_sixteen(world: World) -> None:
    job = world.succeeded()
    register = world.models.functions.register
    orphan = register(job, world.bank_site, h("model"), [h("none")], 5)
    assert world.refusal(orphan, "bank_node") == Refusal("ModelUnknown", (h("none"),))
    many = register(job, world.bank_site, h("model"), [h("none")] * 17, 5)
    assert world.refusal(many, "bank_node") == Refusal("ModelTooManyParents", (17, 16))


def test_a_job_without_success_has_no_model(world: World) -> None:
    for job in (world.propose(), world.running(), h("none")):
        register = world.models.functions.register(job, world.bank_site, h("model"), [], 5)
        assert world.refusal(register, "bank_node") == Refusal("ModelJobNotSucceeded", (job,))


def test_only_a_party_registers_and_only_for_itself(world: World) -> None:
    job = world.succeeded()
    register = world.models.functions.register
    outsider = register(job, world.clinic_site, h("model"), [], 5)
    refused = world.refusal(outsider, "clinic_node")
    assert refused == Refusal("ModelNotParty", (job, world.clinic_site))
    other = register(job, world.shop_site, h("model"), [], 5)
    bank, shop = world.address("bank_node").lower(), world.address("shop_node").lower()
    refused = world.refusal(other, "bank_node")
    assert refused == Refusal("SiteNotOperator", (world.shop_site, bank, shop))


def test_the_registrar_withdraws_once(world: World) -> None:
    model = world.registered_model()
    withdraw = world.models.functions.withdraw(model, world.bank_site)
    world.send(withdraw, "bank_node")
    assert world.models.functions.model(model).call()[4] == world.block
    assert world.refusal(withdraw, "bank_node") == Refusal("ModelEnded", (model, world.block))


def test_only_the_registrar_withdraws(world: World) -> None:
    model = world.registered_model()
    withdraw = world.models.functions.withdraw
    refused = world.refusal(withdraw(model, world.shop_site), "shop_node")
    assert refused == Refusal("ModelNotRegistrar", (model, world.shop_site))
    refused = world.refusal(withdraw(model, world.bank_site), "shop_node")
    assert refused == Refusal("ModelNotRegistrar", (model, world.shop_site))
    unknown = withdraw(h("none"), world.bank_site)
    assert world.refusal(unknown, "bank_node") == Refusal("ModelUnknown", (h("none"),))
