"""Names to things: tables, other people's packages, files of one's own."""

from importlib.metadata import EntryPoint

import pytest

from creditbench.suite import registry
from creditbench.suite.errors import CreditbenchError
from creditbench.suite.types import Task, check_rule


@pytest.mark.parametrize("kind", ["task", "network", "rule"])
def test_everything_in_the_tables_exists_under_its_name(kind: registry.Kind) -> None:
    for name in registry.table(kind):
        assert registry.own_name(registry.load(kind, name)) == name
        assert registry.summary(kind, name)
        path = registry.source_file(kind, name)
        assert path is not None
        assert path.is_file()


def test_tasks_say_where_they_come_from_and_rules_too() -> None:
    for name in registry.table("task"):
        task = registry.load("task", name)
        assert isinstance(task, Task)
        assert task.source
        assert task.licence
        assert task.summary
    for name in registry.table("rule"):
        check_rule(registry.load("rule", name), name)


def offer(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    point = EntryPoint(name, "other_package.rules:Other", "creditbench.rules")
    monkeypatch.setattr(registry, "entry_points", lambda group: [point] if group == point.group else [])


def test_other_packages_offer_rules_by_entry_points(monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, "other")
    assert registry.table("rule")["other"] == "other_package.rules:Other"
    assert "other" not in registry.table("task")


def test_two_offers_of_one_name_are_an_error_that_names_both(monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, "fa")
    with pytest.raises(CreditbenchError, match=r"fa:FeedbackAlignment and other_package.rules:Other"):
        registry.table("rule")


def test_a_file_without_a_name_behind_it_is_explained() -> None:
    with pytest.raises(CreditbenchError, match=r"write my_rule.py:NAME"):
        registry.load("rule", "my_rule.py")


def test_what_is_no_rule_is_refused() -> None:
    with pytest.raises(CreditbenchError, match="is not a LearningRule"):
        check_rule(int, "int")
