package portal

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"rotatord/internal/rotate"
)

// What a search for items to be granted may come to beside a list.
var (
	// ErrNoItems: an index that is being rebuilt finds nothing either, so nothing is never taken for meant.
	ErrNoItems      = errors.New("it finds no item")
	ErrForeignItems = errors.New("it finds items of another organisation, whose items cannot be granted")
)

// GrantableItems lists the items of our organisation that a search finds (in the portal's
// own query language), or that are shared with a group: sorted, at least one, and
// MaxItemGrants at most (ErrTooManyGrants). The index lags behind what was just shared.
func (c *Client) GrantableItems(ctx context.Context, query, group string) ([]rotate.ItemID, error) {
	what, ask := "search items to be granted", "("+query+")"
	if query == "" {
		what, ask = "list items of group "+group, `group:"`+group+`"`
	}
	fail := func(err error) ([]rotate.ItemID, error) {
		return nil, &rotate.Error{Op: what, Kind: rotate.KindPermanent, Err: err}
	}
	self, err := c.Whoami(ctx)
	if err != nil {
		return nil, err
	}
	if self.OrgID != "" {
		ask += ` AND orgid:"` + self.OrgID + `"`
	}
	var found []rotate.ItemID
	for start := 1; start > 0; {
		page, err := c.SearchPage(ctx, ask, start)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", what, err)
		}
		for _, d := range page.Items {
			if d.OrgID != "" && self.OrgID != "" && d.OrgID != self.OrgID { // a query can have parentheses of its own
				return fail(fmt.Errorf("%w: %s", ErrForeignItems, d.Item))
			}
			if id := rotate.ItemID(strings.ToLower(string(d.Item))); !slices.Contains(found, id) {
				found = append(found, id)
			}
		}
		if len(found) > MaxItemGrants {
			return fail(ErrTooManyGrants)
		}
		start = page.Next
	}
	if len(found) == 0 {
		return fail(ErrNoItems)
	}
	slices.Sort(found)
	return found, nil
}
