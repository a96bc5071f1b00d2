"""How somebody looks at a list, kept under a name: the query of the list's address. It is theirs alone."""

from appliance import catalog
from appliance.catalog import Actor, SavedView
from appliance.errors import BadInput, NotFound

LONGEST = 60  # characters of a name
EACH = 30  # of a list


def of_account(account_id: int, list: str) -> list[SavedView]:
    """Somebody's views of the list with this endpoint, by name."""
    return [*SavedView.select().where(SavedView.account == account_id, SavedView.list == list).order_by(SavedView.name)]


def save(actor: Actor, list: str, name: str, query: str) -> None:
    """Keep a view; one of the same name is replaced. Raises BadInput."""
    name = " ".join(name.split())
    if not name or len(name) > LONGEST or not name.isprintable():
        raise BadInput(f"A view needs a name of 1 to {LONGEST} characters.", "Say what it shows, like “Idle notebooks”.", field="name")
    with catalog.write():
        mine = (SavedView.account == actor.account_id) & (SavedView.list == list)
        if SavedView.select().where(mine, SavedView.name != name).count() >= EACH:
            raise BadInput(f"You have {EACH} views of this list already.", "Delete one that you do not use.", field="name")
        SavedView.delete().where(mine, SavedView.name == name).execute()
        SavedView.create(account=actor.account_id, list=list, name=name, query=query)


def delete(actor: Actor, id: int) -> SavedView:
    """Forget one of the actor's views. Raises NotFound."""
    found: SavedView | None = SavedView.get_or_none(SavedView.id == id, SavedView.account == actor.account_id)
    if found is None:
        raise NotFound("There is no such view.", "Reload the page.")
    with catalog.write():
        found.delete_instance()
    return found
