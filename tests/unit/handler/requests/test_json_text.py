from __future__ import annotations

import time

import pytest

from handler.errors import PayloadError
from handler.requests.json_text import value_of_json
from handler.requests.limits import MAX_CONTAINERS


def with_repeated_key(num_keys: int) -> str:
    """Return an object whose last key is its first one again."""
    return "{" + "".join(f'"{number}":0,' for number in range(num_keys)) + '"0":0}'


def cpu_s(num_keys: int) -> float:
    """Return the CPU seconds in which an object with a repeated key is refused."""
    text = with_repeated_key(num_keys)
    started = time.process_time()
    with pytest.raises(PayloadError, match="key '0' occurs twice"):
        value_of_json(text)
    return time.process_time() - started


def test_a_repeated_key_is_found_in_linear_time() -> None:
    """With quadratic time 20 times the keys take 400 times as long."""
    assert cpu_s(200_000) < 100 * max(cpu_s(10_000), 0.005)


@pytest.mark.parametrize("container", ["[]", "[[]]", "{}", '{"a":{}}', '[{"a":[0]}]'])
def test_more_lists_and_objects_than_a_worker_holds_are_refused(container: str) -> None:
    weight = container.count("[") + 3 * container.count("{")
    most = (MAX_CONTAINERS - 1) // weight
    assert len(value_of_json("[" + ",".join([container] * most) + "]")) == most  # type: ignore[arg-type]
    with pytest.raises(PayloadError, match="send fewer instances at a time"):
        value_of_json("[" + ",".join([container] * (most + 1)) + "]")


@pytest.mark.parametrize("text", ["[" * 2_000_000, '\\"[' * 2_000_000, "{\\\\"])
def test_brackets_in_a_text_are_no_lists(text: str) -> None:
    assert value_of_json(f'["{text}"]') == [text.replace('\\"', '"').replace("\\\\", "\\")]


def test_brackets_after_a_text_without_end_are_counted_in_linear_time() -> None:
    with pytest.raises(PayloadError, match="not JSON"):
        value_of_json('["' + '\\"[' * 2_000_000)
