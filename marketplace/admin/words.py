"""The words of unfold's own that our pages show. It comes without a Chinese catalogue: naming them here puts them into ours."""

from django.utils.translation import gettext_lazy as _

WORDS = (
    *(_("Add new item"), _("Add row"), _("All applications"), _("Apply Filters"), _("Cancel"), _("Click to cancel")),
    *(
        _("After you've created a user, you’ll be able to edit more user options."),
        _("Date"),
        _("Date from"),
        _("Date to"),
    ),
    *(_("Expand row"), _("False"), _("True"), _("Filters"), _("General"), _("Go back"), _("Loading more results...")),
    *(_("More actions"), _("Next"), _("Previous"), _("No data"), _("No recent searches"), _("No results found")),
    *(_("No results matching your query"), _("Not enough data."), _("Recent searches"), _("Record picture")),
    _(
        "Raw passwords are not stored, so there is no way to see this user’s password, but you can change the password"
        ' using <a href="{}" class="text-primary-600 dark:text-primary-500">this form</a>.'
    ),
    *(
        _("Reset filters"),
        _("Return to site"),
        _("Run"),
        _("Search apps and models..."),
        _("Select action"),
        _("Submit"),
    ),
    *(_("Select action to run"), _("Select all rows"), _("Select record"), _("Select value"), _("System"), _("To")),
    _("This page yielded into no results. Create a new item or reset your filters."),
    *(_("Toggle password visibility"), _("Type to search")),
    *(_("Choose file to upload"), _("Select format")),
)
