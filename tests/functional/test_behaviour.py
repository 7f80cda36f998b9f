# SPDX-License-Identifier: LGPL-2.1-or-later
"""Pools of images and of logical volumes, as any storage pool."""

import pytest

from behaviour import Behaviour


class TestVolumes(Behaviour):
    """With --pool-type=qubes-thin, logical volumes."""

    @pytest.fixture
    def make(self, pools):
        return pools
