"""Where does the time go inside? The room that hooks vLLM's processes and writes down what they did.

It owns the plugin that vLLM loads in each process and the step log; it changes nothing in vLLM and is free when off.
"""

ENGINESCOPE = True  # tells this package from a folder of the same name that shadows it
