"""What runs every module that has no action plugin of its own. In a seed's tree another one takes the place of `apt`, however a role calls it.

It has Ansible's own name, so it cannot inherit from it, and does the same.
"""

from ansible import constants
from ansible.plugins.action import ActionBase
from ansible.utils.vars import merge_hash

APT = ("apt", "ansible.builtin.apt", "ansible.legacy.apt")


class ActionModule(ActionBase):
    """Run the task's module."""

    _supports_check_mode = True
    _supports_async = True

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        background = self._task.async_val and not self._connection.has_native_async
        instead = "dpe_packages" if self._task.action in APT and self._connection.transport == "dpe_chroot" else None
        result = merge_hash(result, self._execute_module(module_name=instead, task_vars=task_vars, wrap_async=background))
        if self._task.action in constants._ACTION_SETUP:
            result["_ansible_verbose_override"] = True  # nobody reads all facts
        if not background:
            self._remove_tmp_path(self._connection._shell.tmpdir)
        return result
