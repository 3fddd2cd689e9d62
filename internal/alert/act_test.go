package alert

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"rotatord/internal/rotate"
)

// TestCredentialsOfAnAlert: whose histories what people do to it is written into.
func TestCredentialsOfAnAlert(t *testing.T) {
	for name, tc := range map[string]struct {
		a    Alert
		want []rotate.Name
	}{
		"its own":           {Alert{Key: "failing/maps/prod"}, []rotate.Name{"maps/prod"}},
		"a group's":         {Alert{Key: "group/drift/2026-03-01T12:00:00Z", Members: []string{"drift/a", "drift/b"}}, []rotate.Name{"a", "b"}},
		"several, mixed":    {Alert{Key: "group/several/x", Members: []string{"drift/a", "failing/a", "clock_off/esri"}}, []rotate.Name{"a"}},
		"none of a portal":  {Alert{Key: "portal_unreachable/esri"}, nil},
		"none of ourselves": {Alert{Key: "crashed/rotatord"}, nil},
	} {
		if diff := cmp.Diff(tc.want, tc.a.Credentials()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
