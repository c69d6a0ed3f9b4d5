"""Arrow, with memory that is given back, and its compute functions: it makes them at import, where no type checker sees
them."""

from __future__ import annotations

from typing import Any

import pyarrow
import pyarrow.compute

# Its own allocator keeps what was freed, and nobody else can have it.
pyarrow.set_memory_pool(pyarrow.system_memory_pool())

pc: Any = pyarrow.compute
