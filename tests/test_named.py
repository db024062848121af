"""Systems and steps by the names that the command line and the tables share."""

import pytest

from sklearn_cmac.pipelines import SYSTEMS
from sklearn_cmac.reranking import EXPANSION, RERANKING, make_chain


def test_every_system_has_a_label_of_its_own():
    assert len({system.label for system in SYSTEMS.values()}) == len(SYSTEMS)


@pytest.mark.parametrize("name", SYSTEMS)
def test_every_system_is_made_for_its_networks(name):
    """What it takes from a network are parameters that it has, and not those of another's."""
    system = SYSTEMS[name]
    for backbone in [system.only] if system.only else ["efficientnet_lite0", "vgg16", "resnet101"]:
        taken = system.of_network(backbone)
        params = system.make(**taken).get_params()
        assert {path: params[path] for path in taken} == taken


def test_systems_take_from_a_network_what_was_published_with_it():
    """A cell is 16 pixels of VGG16's conv5_3, 32 of ResNet101's res5c; the paper's C is 4 and 7."""
    stride, components = SYSTEMS["dir"].of_network, SYSTEMS["paper"].of_network
    assert [stride(name)["regions__stride"] for name in ("vgg16", "resnet101")] == [16, 32]
    assert [components(name)["pca__n_components"] for name in ("vgg16", "resnet101")] == [4, 7]


@pytest.mark.parametrize("rerank", RERANKING)
@pytest.mark.parametrize("expand", EXPANSION)
def test_a_chain_has_the_steps_that_are_named_and_no_others(rerank, expand):
    steps, augmentation = make_chain(rerank, expand, verbose=True)
    chain = dict(steps)
    assert (augmentation is None) == (expand != "dba")
    expected = {"rerank": rerank, "expand": "none" if expand == "dba" else expand}
    assert list(chain) == [name for name, step in expected.items() if step != "none"]
    for name, registry, asked in (("rerank", RERANKING, rerank), ("expand", EXPANSION, expand)):
        if name in chain:
            assert type(chain[name]) is type(registry[asked]())
            assert chain[name].get_params().get("verbose", True)


def test_windows_of_localisation_are_averaged_by_five():
    """As R-MAC's authors do it; ten are the default elsewhere."""
    assert dict(make_chain("localization", "qe").steps)["expand"].n_neighbors == 5
    assert dict(make_chain("matching", "qe").steps)["expand"].n_neighbors == 10
    assert dict(make_chain("localization", "aqe").steps)["expand"].n_neighbors == 10
