# SPDX-License-Identifier: LGPL-2.1-or-later
"""Pools of directory trees, as any storage pool."""

import pytest

from behaviour import Behaviour


class TestTrees(Behaviour):
    """As volumes, but what is in them."""

    @pytest.fixture
    def make(self, fspools):
        return fspools
