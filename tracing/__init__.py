"""Where does the time go inside? The room that hooks vLLM's processes and writes down what they did.

It owns the hooks that each vLLM process loads and the readers of what they write; it is free when off.
"""

ENGINESCOPE = True  # tells this package from a folder of the same name that shadows it
