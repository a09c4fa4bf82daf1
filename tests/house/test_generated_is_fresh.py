"""What is generated is what the protos say, byte for byte."""

from tests.house.repository import generator


def test_generated_code_is_fresh():
    generator().check()
