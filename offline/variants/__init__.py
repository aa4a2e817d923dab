"""What is put under load: named settings of an engine or a baseline, and the process that serves one."""
