package portal

import (
	"errors"
	"net/http"
	"testing"
	"testing/synctest"

	"rotatord/internal/portal/portaltest"
	"rotatord/internal/rotate"
)

// everyAdminCall takes a credential from its folder to its end under some switch.
func everyAdminCall(t *testing.T, c *Client, product portaltest.Product, failed map[string]error) {
	t.Helper()
	ctx, me := t.Context(), portaltest.AdminUser
	_, failed["create folder"] = c.CreateFolder(ctx, me, "keys")
	item, err := c.CreateItem(ctx, NewItem{Owner: me, Title: "x", Mark: "mark"})
	failed["create item"] = err
	found, err := c.FindItems(ctx, me, "mark")
	failed["find items"] = err
	if len(found) > 1 || len(found) == 0 && failed["create item"] == nil {
		t.Errorf("%d items under the mark", len(found))
	}
	if len(found) == 1 {
		item = found[0].Item
	}
	made, err := c.RegisterApp(ctx, item, Settings{Privileges: []string{ownable(product)}})
	failed["register app"] = err
	if made.App.ClientID == "" {
		made, failed["settings"] = c.AppSettings(ctx, item, me)
	}
	_, failed["edit app"] = c.EditApp(ctx, orElse(made.App.ClientID, "none"), Settings{})
	failed["update item"] = c.UpdateItem(ctx, item, me, ItemEdit{Snippet: new("")})
	failed["protect"] = c.Protect(ctx, item, me)
	failed["unprotect"] = c.Unprotect(ctx, item, me)
	failed["unregister"] = c.UnregisterApp(ctx, orElse(made.App.ClientID, "none"))
	failed["delete"] = c.DeleteItem(ctx, item, me, true)
	if product == portaltest.Enterprise113 {
		for _, what := range []string{"register app", "settings", "edit app"} {
			if rotate.CauseOf(failed[what]) == rotate.CauseTooOld {
				delete(failed, what)
			}
		}
	}
}

// Whatever a portal or the network can answer, an administrative write is classified as the
// table has it for writes that are sent once, or for idempotent ones.
func TestAnswersToAdministration(t *testing.T) {
	for _, row := range answers() {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, me := t.Context(), "u"
				once := map[string]func(*Client) error{
					"create item":   func(c *Client) error { _, err := c.CreateItem(ctx, NewItem{Owner: me, Title: "x"}); return err },
					"create folder": func(c *Client) error { _, err := c.CreateFolder(ctx, me, "x"); return err },
					"register app":  func(c *Client) error { _, err := c.RegisterApp(ctx, testID.Item, Settings{}); return err },
					"edit app":      func(c *Client) error { _, err := c.EditApp(ctx, "x", Settings{}); return err },
					"unregister":    func(c *Client) error { return c.UnregisterApp(ctx, "x") },
					"delete":        func(c *Client) error { return c.DeleteItem(ctx, testID.Item, me, true) },
				}
				settling := map[string]func(*Client) error{
					"update":  func(c *Client) error { return c.UpdateItem(ctx, testID.Item, me, ItemEdit{Title: new("x")}) },
					"move":    func(c *Client) error { return c.MoveItem(ctx, testID.Item, me, "") },
					"protect": func(c *Client) error { return c.Protect(ctx, testID.Item, me) },
				}
				for what, call := range once {
					classified(t, what, call(keyClient(t, row.canned, Limits{})), row.mint)
				}
				for what, call := range settling {
					classified(t, what, call(keyClient(t, row.canned, Limits{})), row.settle)
				}
			})
		})
	}
}

// What makes or ends something has no second copy of its body, so that no transport can
// send it twice, and goes where a redirect points in no case.
func TestAdministrationCannotBeReadTwice(t *testing.T) {
	ctx, me := t.Context(), "u"
	for what, row := range map[string]struct {
		once bool
		do   func(*Client) error
	}{
		"create item":   {true, func(c *Client) error { _, err := c.CreateItem(ctx, NewItem{Owner: me, Title: "x"}); return err }},
		"create folder": {true, func(c *Client) error { _, err := c.CreateFolder(ctx, me, "x"); return err }},
		"register app":  {true, func(c *Client) error { _, err := c.RegisterApp(ctx, testID.Item, Settings{}); return err }},
		"edit app":      {true, func(c *Client) error { _, err := c.EditApp(ctx, "x", Settings{}); return err }},
		"unregister":    {true, func(c *Client) error { return c.UnregisterApp(ctx, "x") }},
		"delete":        {true, func(c *Client) error { return c.DeleteItem(ctx, testID.Item, me, true) }},
		"update":        {false, func(c *Client) error { return c.UpdateItem(ctx, testID.Item, me, ItemEdit{Title: new("x")}) }},
		"move":          {false, func(c *Client) error { return c.MoveItem(ctx, testID.Item, me, "") }},
	} {
		var sent []*http.Request
		c := keyClient(t, roundTripFunc(func(r *http.Request) (*http.Response, error) {
			sent = append(sent, r)
			return canned{status: http.StatusTemporaryRedirect, header: http.Header{"Location": {"/elsewhere"}}}.RoundTrip(r)
		}), Limits{})
		wantKind(t, row.do(c), permanent, rotate.CauseNotAPortal)
		if len(sent) != 1 || row.once != (sent[0].GetBody == nil) || sent[0].URL.RawQuery != "" || sent[0].Method != http.MethodPost {
			t.Errorf("%s: %d requests, GetBody is nil: %t", what, len(sent), sent[0].GetBody == nil)
		}
	}
}

// classified compares with the row for mint or for setting a date, whose own words for a
// plain refusal (a wrong client, a wrong date) are none of these calls'.
func classified(t *testing.T, what string, err error, w want) {
	t.Helper()
	if _, ok := errors.AsType[*rotate.Error](err); err != nil && !ok {
		t.Errorf("%s: %v is not classified", what, err)
	}
	kind := w.kind
	if kind == conflict {
		kind = permanent
	}
	if got := rotate.KindOf(err); got != kind {
		t.Errorf("%s: got %v, want %q", what, err, kind)
	}
}
