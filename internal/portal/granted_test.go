package portal

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"

	"rotatord/internal/portal/portaltest"
	"rotatord/internal/rotate"
)

// What a search and a group come to: items of our own organisation, sorted, over more than one page.
func TestItemsOfASearchAndAGroup(t *testing.T) {
	for _, product := range keeping() {
		t.Run(string(product), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := strictEmulator(t, portaltest.Options{Product: product})
				c := newTestClient(t, e, Options{})
				const group = "0123456789abcdef0123456789abcdef"
				var roads []rotate.ItemID
				for i := range 60 {
					id, _ := e.AddService(portaltest.AdminUser, fmt.Sprintf("roads %d", i), "private")
					roads = append(roads, rotate.ItemID(id))
				}
				slices.Sort(roads)
				e.AddForeignItem("Feature Service", "roads of others")
				for _, id := range roads[:3] {
					must(t, "share", e.ShareWithGroup(string(id), group))
				}
				got, err := c.GrantableItems(t.Context(), `title:roads AND type:"Feature Service"`, "")
				if err != nil || !slices.Equal(got, roads) {
					t.Errorf("search: %d items, %v", len(got), err)
				}
				got, err = c.GrantableItems(t.Context(), "", group)
				if err != nil || !slices.Equal(got, roads[:3]) {
					t.Errorf("group: %v, %v", got, err)
				}
				// Parentheses of its own cannot lead out of the organisation.
				if _, err = c.GrantableItems(t.Context(), "title:roads) OR (title:others", ""); !errors.Is(err, ErrForeignItems) {
					t.Errorf("foreign items: %v", err)
				}
				if _, err = c.GrantableItems(t.Context(), "title:rivers", ""); !errors.Is(err, ErrNoItems) || rotate.KindOf(err) != permanent {
					t.Errorf("nothing found: %v", err)
				}
				for i := range 50 {
					e.AddService(portaltest.AdminUser, fmt.Sprintf("roads again %d", i), "private")
				}
				if _, err = c.GrantableItems(t.Context(), "title:roads", ""); !errors.Is(err, ErrTooManyGrants) {
					t.Errorf("too many: %v", err)
				}
			})
		})
	}
}
