package portal

import (
	"net/http"
	"strings"
	"testing"

	"rotatord/internal/rotate"
)

// Whatever a service or a portal answers to the key, and to nobody: a privilege counts as
// proved only where the key was let in and nobody was not, an item only where the portal
// showed one that is not public, and no sentence holds the key.
func FuzzGrants(f *testing.F) {
	for _, row := range append(answers(), echoes()...) {
		f.Add(row.canned.status, []byte(row.canned.body), 401, []byte(`{"error":{"code":499}}`))
		f.Add(200, []byte(`{"version":8}`), row.canned.status, []byte(row.canned.body))
	}
	f.Add(200, []byte(`{"type":"Feature Service","access":"private","url":"https://services.arcgis.com/§"}`), 200, []byte(`{}`))
	f.Add(200, []byte(`{"error":{"code":403,"message":"§"}}`), 403, []byte(`§`))
	f.Fuzz(func(t *testing.T, status int, body []byte, nobodyStatus int, nobodyBody []byte) {
		if status < 200 || status > 599 || nobodyStatus < 200 || nobodyStatus > 599 {
			return
		}
		key := testKey(rotate.Slot1)
		hosts := map[string]bool{}
		rt := roundTripFunc(func(r *http.Request) (*http.Response, error) {
			form, _ := readForm(r)
			said := canned{status: nobodyStatus, body: strings.ReplaceAll(string(nobodyBody), "§", key)}
			if strings.Contains(r.Header.Get("X-Esri-Authorization")+form, key) {
				said = canned{status: status, body: strings.ReplaceAll(string(body), "§", key)}
				hosts[r.URL.Host] = true
			}
			return said.RoundTrip(r)
		})
		g, err := NewGrants(GrantsOptions{Portal: keyClient(t, rt, Limits{}), Product: Online, Services: ParityOptions{Transport: rt}})
		must(t, "make grants", err)
		got := g.Ask(t.Context(), rotate.NewSecret(key), "", []string{"premium:user:basemaps", "premium:user:geocode", ItemGrant(testID.Item)})
		fault, _ := readFault(body)
		nobodyFault, _ := readFault(nobodyBody)
		for i, one := range got {
			if strings.Contains(one.Sentence, key[:20]) || len(one.Sentence) > 2000 || one.State == "" {
				t.Errorf("%+v", one)
			}
			if i == 0 && one.State == GrantWorks && (status/100 != 2 || fault != nil || nobodyStatus/100 == 2 && nobodyFault == nil) {
				t.Errorf("proved by %d %q, and nobody gets %d %q", status, body, nobodyStatus, nobodyBody)
			}
			if i == 2 && one.State == GrantWorks && (fault != nil || status/100 != 2) {
				t.Errorf("item proved by %d %q", status, body)
			}
		}
		for host := range hosts {
			if host != "portal.test" && !strings.HasSuffix(host, ".arcgis.com") {
				t.Errorf("the key went to %s", host)
			}
		}
	})
}
