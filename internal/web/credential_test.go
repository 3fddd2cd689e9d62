package web_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"rotatord/internal/rotate"
	"rotatord/internal/web"
)

func TestHistoryIsPaged(t *testing.T) {
	var asked []int
	h := site(t, func(o *web.Options) {
		o.History = func(_ context.Context, name rotate.Name, limit int) ([]web.Event, error) {
			asked = append(asked, limit)
			var out []web.Event
			for i := max(0, 1234-limit); i < 1234; i++ {
				out = append(out, web.Event{Seq: int64(i + 1), Event: rotate.Event{Name: name, Kind: rotate.EventHeld, At: time.Now(), Detail: fmt.Sprintf("event %d.", i+1)}})
			}
			return out, nil
		}
	})
	page := fetch(h, http.MethodGet, "/credential?name=web-map").Body.String()
	if !strings.Contains(page, "event 1234.") || !strings.Contains(page, "event 1185.") || strings.Contains(page, "event 1184.") {
		t.Error("the first page is not the newest 50")
	}
	page = fetch(h, http.MethodGet, "/credential?name=web-map&page=25").Body.String()
	if !strings.Contains(page, "event 34.") || !strings.Contains(page, "event 1.") || strings.Contains(page, "event 35.") || strings.Contains(page, `rel="next"`) || !strings.Contains(page, `rel="prev"`) {
		t.Errorf("the last page is not the oldest 34")
	}
	fetch(h, http.MethodGet, "/credential?name=web-map&page=99999999")
	if most := asked[len(asked)-1]; most > 10_001 {
		t.Errorf("a page far away reads %d events", most)
	}
}

// TestPartsThatFail are said where they would stand, and take nothing else with them.
func TestPartsThatFail(t *testing.T) {
	h := site(t, func(o *web.Options) {
		o.Usage = func(context.Context, rotate.Name) (web.Usage, error) {
			return web.Usage{}, errors.New("the file is torn")
		}
	})
	page := fetch(h, http.MethodGet, "/credential?name=tree-inventory").Body.String()
	for _, want := range []string{"The history cannot be read: read history: the journal is busy", "Usage cannot be read: the file is torn", "Slots and keys"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	bare := site(t, func(o *web.Options) { o.Usage, o.History, o.Daemon, o.Protocol, o.Runbook = nil, nil, nil, "", "" })
	if w := fetch(bare, http.MethodGet, "/credential?name=flood-model"); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "Drift: sink foreign") {
		t.Errorf("without the parts: %d", w.Code)
	}
	if w := fetch(bare, http.MethodGet, "/runbook"); w.Code != http.StatusNotFound {
		t.Errorf("without a runbook: %d", w.Code)
	}
	if _, err := web.New(web.Options{}); err == nil {
		t.Error("a page of nothing was made")
	}
}

func TestSettingsThatDiffer(t *testing.T) {
	h := site(t, nil)
	page := fetch(h, http.MethodGet, "/credential?name=city-portal").Body.String()
	for _, want := range []string{"Settings at the portal", "title differs from the config", "  - City portal (old)\n  &#43; City portal", "What was taken as meant", "Compared "} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if page := fetch(h, http.MethodGet, "/credential?name=web-map").Body.String(); strings.Contains(page, "Settings at the portal") {
		t.Error("settings are shown of a credential whose config states none")
	}
}
