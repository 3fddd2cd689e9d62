package portal

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"rotatord/internal/portal/portaltest"
	"rotatord/internal/rotate"
)

// adminWorld is one bare item, one item with an app, and the calls that write.
type adminWorld struct {
	e    *portaltest.Emulator
	c    *Client
	bare rotate.ItemID
	cred portaltest.Credential
}

func newAdminWorld(t *testing.T) *adminWorld {
	t.Helper()
	w := &adminWorld{e: strictEmulator(t, portaltest.Options{})}
	w.c = newTestClient(t, w.e, Options{})
	w.cred = w.e.AddCredential(portaltest.CredentialSeed{Title: "has an app"})
	var err error
	w.bare, err = w.c.CreateItem(t.Context(), NewItem{Owner: portaltest.AdminUser, Title: "bare"})
	must(t, "create item", err)
	w.e.ResetCounts()
	return w
}

// write is one writing method: what it does, whether once is all it may be sent, and how it
// is seen that it was done.
type write struct {
	op    portaltest.Op
	once  bool
	do    func(t *testing.T, w *adminWorld) error
	count portaltest.EventKind
}

func adminWrites() map[string]write {
	me := portaltest.AdminUser
	item := func(w *adminWorld) rotate.ItemID { return rotate.ItemID(w.cred.ItemID) }
	return map[string]write{
		"create item": {portaltest.OpAddItem, true, func(t *testing.T, w *adminWorld) error {
			_, err := w.c.CreateItem(t.Context(), NewItem{Owner: me, Title: "new"})
			return err
		}, portaltest.EventItemAdded},
		"create folder": {portaltest.OpCreateFolder, true, func(t *testing.T, w *adminWorld) error {
			_, err := w.c.CreateFolder(t.Context(), me, "keys")
			return err
		}, portaltest.EventFolderAdded},
		"register app": {portaltest.OpRegisterApp, true, func(t *testing.T, w *adminWorld) error {
			_, err := w.c.RegisterApp(t.Context(), w.bare, Settings{Privileges: []string{"premium:user:basemaps"}})
			return err
		}, portaltest.EventRegistered},
		"edit app": {portaltest.OpAppUpdate, true, func(t *testing.T, w *adminWorld) error {
			_, err := w.c.EditApp(t.Context(), w.cred.ClientID, Settings{})
			return err
		}, portaltest.EventAppUpdated},
		"unregister app": {portaltest.OpUnregisterApp, true, func(t *testing.T, w *adminWorld) error {
			return w.c.UnregisterApp(t.Context(), w.cred.ClientID)
		}, portaltest.EventUnregistered},
		"delete item": {portaltest.OpDeleteItem, true, func(t *testing.T, w *adminWorld) error {
			return w.c.DeleteItem(t.Context(), item(w), me, true)
		}, portaltest.EventItemDeleted},
		"update item": {portaltest.OpUpdateItem, false, func(t *testing.T, w *adminWorld) error {
			return w.c.UpdateItem(t.Context(), item(w), me, ItemEdit{Title: new("x")})
		}, portaltest.EventItemUpdated},
		"move item": {portaltest.OpMoveItem, false, func(t *testing.T, w *adminWorld) error {
			return w.c.MoveItem(t.Context(), item(w), me, "")
		}, portaltest.EventItemMoved},
		"share": {portaltest.OpShare, false, func(t *testing.T, w *adminWorld) error {
			return w.c.ShareItem(t.Context(), item(w), me, true)
		}, portaltest.EventItemUpdated},
		"protect": {portaltest.OpProtect, false, func(t *testing.T, w *adminWorld) error {
			return w.c.Protect(t.Context(), item(w), me)
		}, portaltest.EventItemUpdated},
		"unprotect": {portaltest.OpUnprotect, false, func(t *testing.T, w *adminWorld) error {
			return w.c.Unprotect(t.Context(), item(w), me)
		}, portaltest.EventItemUpdated},
	}
}

// Each write under each fault: what makes or ends something is sent once and its outcome is
// unknown unless the answer is clean; what is idempotent is transient. A refused token means
// that nothing happened, and the call is sent again.
func TestWritesUnderFaults(t *testing.T) {
	type outcome struct{ once, settle rotate.Kind }
	lost := outcome{unknown, transient}
	for _, row := range []struct {
		fault    portaltest.Fault
		want     outcome
		requests int
	}{
		{portaltest.Fault{Kind: portaltest.FailBefore}, lost, 1},
		{portaltest.Fault{Kind: portaltest.FailAfter}, lost, 1},
		{portaltest.Fault{Kind: portaltest.LoseRequest}, lost, 1},
		{portaltest.Fault{Kind: portaltest.LoseReply}, lost, 1},
		{portaltest.Fault{Kind: portaltest.Delay, Delay: time.Minute}, lost, 1},
		{portaltest.Fault{Kind: portaltest.DelayReply, Delay: time.Minute}, lost, 1},
		{portaltest.Fault{Kind: portaltest.SlowBody, Delay: time.Second}, outcome{}, 1},
		{portaltest.Fault{Kind: portaltest.CutBody}, lost, 1},
		{portaltest.Fault{Kind: portaltest.TruncatedJSON}, lost, 1},
		{portaltest.Fault{Kind: portaltest.WrongJSON}, lost, 1},
		{portaltest.Fault{Kind: portaltest.ServerError}, lost, 1},
		{portaltest.Fault{Kind: portaltest.ServerErrorHTML}, lost, 1},
		{portaltest.Fault{Kind: portaltest.HTMLPage}, lost, 1},
		{portaltest.Fault{Kind: portaltest.LateEffect, LateFor: time.Minute}, lost, 1},
		{portaltest.Fault{Kind: portaltest.RateLimited, RetryAfter: 2 * time.Second}, outcome{limited, limited}, 1},
		{portaltest.Fault{Kind: portaltest.RateLimitedBody}, outcome{limited, limited}, 1},
		{portaltest.Fault{Kind: portaltest.Forbidden}, outcome{permanent, permanent}, 1},
		{portaltest.Fault{Kind: portaltest.InvalidToken}, outcome{}, 2},
		{portaltest.Fault{Kind: portaltest.InvalidToken, Count: -1}, outcome{auth, auth}, 2},
	} {
		for name, method := range adminWrites() {
			t.Run(fmt.Sprintf("%s under %s x%d", name, row.fault.Kind, row.fault.Count), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newAdminWorld(t)
					before := eventsOf(w.e, method.count)
					inject(t, w.e, method.op, row.fault)
					want := row.want.settle
					if method.once {
						want = row.want.once
					}
					if err := method.do(t, w); rotate.KindOf(err) != want {
						t.Errorf("got %v, want %q", err, want)
					}
					if got := w.e.Counts()[method.op]; got != row.requests {
						t.Errorf("%d requests, want %d", got, row.requests)
					}
					w.e.FlushLate()
					if got := eventsOf(w.e, method.count) - before; got > 1 {
						t.Errorf("it happened %d times", got)
					}
				})
			})
		}
	}
}

func eventsOf(e *portaltest.Emulator, kind portaltest.EventKind) (n int) {
	for _, ev := range e.Events() {
		if ev.Kind == kind {
			n++
		}
	}
	return n
}

// A lie, the answer of success without the effect, shows in what is read afterwards.
func TestLiesShowInWhatIsReadAfterwards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newAdminWorld(t)
		ctx, me, item := t.Context(), portaltest.AdminUser, rotate.ItemID(w.cred.ItemID)
		for name, method := range adminWrites() {
			if method.op == portaltest.OpAddItem || method.op == portaltest.OpCreateFolder {
				continue // cannot be lied about: the answer names what was made
			}
			inject(t, w.e, method.op, portaltest.Fault{Kind: portaltest.Lie})
			err := method.do(t, w)
			if name == "register app" {
				wantKind(t, err, unknown, rotate.CauseNotAPortal)
				_, err = w.c.AppSettings(ctx, w.bare, me)
				wantKind(t, err, permanent, rotate.CauseNotCredential)
				continue
			}
			must(t, name, err)
		}
		d, err := w.c.Details(ctx, item)
		if err != nil || d.Title != "has an app" || d.Protected || !d.HasApp || d.Access != "private" {
			t.Errorf("after the lies: got %+v, %v", d, err)
		}
	})
}

// createOnce is what a caller does to have one credential under a mark, whatever became of
// its earlier tries: look, sort out, go on where they stopped. It is called again after
// each error and after each restart, and gives the same credential each time.
func createOnce(t *testing.T, c *Client, owner, mark string) (AppRecord, error) {
	ctx := t.Context()
	folder, err := folderOnce(t, c, owner, "keys")
	if err != nil {
		return AppRecord{}, err
	}
	found, err := c.FindItems(ctx, owner, mark)
	if err != nil {
		return AppRecord{}, err
	}
	keep, extra, plain := SortOut(found)
	if !plain {
		t.Fatalf("two credentials were made: %+v", found)
	}
	for _, d := range extra {
		if err := c.DeleteItem(ctx, d.Item, d.Owner, true); err != nil && rotate.CauseOf(err) != rotate.CauseNotFound {
			return AppRecord{}, err
		}
	}
	item := keep.Item
	if item == "" {
		if item, err = c.CreateItem(ctx, NewItem{Owner: owner, Folder: folder, Title: "web map", Mark: mark}); err != nil {
			return AppRecord{}, err
		}
	}
	app, err := c.AppSettings(ctx, item, owner)
	if rotate.CauseOf(err) == rotate.CauseNotCredential && !keep.HasApp { // two witnesses: a read may be stale
		app, err = c.RegisterApp(ctx, item, Settings{Privileges: []string{"premium:user:basemaps"}})
	}
	return app, err
}

func folderOnce(t *testing.T, c *Client, owner, title string) (string, error) {
	folders, err := c.Folders(t.Context(), owner)
	if err != nil {
		return "", err
	}
	for _, f := range folders {
		if f.Title == title {
			return f.ID, nil
		}
	}
	f, err := c.CreateFolder(t.Context(), owner, title)
	return f.ID, err
}

// settleTime is how long a caller waits after an unknown outcome before it looks again; an
// effect that comes later than that is what SortOut is for.
const settleTime = 2 * time.Minute

// Never two: each creating call fails in each way, at first and again, and its effect may
// come late, even after the next try. In the end there is one credential, whole.
func TestACredentialIsNeverMadeTwice(t *testing.T) {
	for _, op := range []portaltest.Op{portaltest.OpCreateFolder, portaltest.OpAddItem, portaltest.OpRegisterApp, portaltest.OpUserContent, portaltest.OpAppInfo} {
		for _, kind := range portaltest.FaultKinds() {
			for _, count := range []int{1, 2} {
				f := portaltest.Fault{Kind: kind, Count: count, Delay: time.Minute, RetryAfter: time.Second}
				for _, late := range []time.Duration{time.Minute, 10 * time.Minute} {
					if f.LateFor = late; kind != portaltest.LateEffect && late > time.Minute || kind == portaltest.Lie && op != portaltest.OpRegisterApp ||
						kind == portaltest.StaleRead && op.Effect() {
						continue
					}
					t.Run(fmt.Sprintf("%s %s x%d late %s", op, kind, count, late), func(t *testing.T) {
						synctest.Test(t, func(t *testing.T) { neverTwice(t, "refuse", op, f) })
						synctest.Test(t, func(t *testing.T) { neverTwice(t, "replaces", op, f) })
					})
				}
			}
		}
	}
}

func neverTwice(t *testing.T, twice string, op portaltest.Op, f portaltest.Fault) {
	e := strictEmulator(t, portaltest.Options{Switches: map[string]string{portaltest.SwitchOwnKeywords: "dropped", portaltest.SwitchRegisterTwice: twice}})
	inject(t, e, op, f)
	untilMade(t, e)
	time.Sleep(15 * time.Minute) // every late effect has come
	app := untilMade(t, e)       // which clears away what came late
	c := newTestClient(t, e, Options{})
	found, err := c.FindItems(t.Context(), portaltest.AdminUser, "rotatord-01J")
	if err != nil || len(found) != 1 || found[0].Item != app.Item || !found[0].HasApp {
		t.Errorf("found %+v, %v; want the one of %s", found, err, app.Item)
	}
	if s := e.Snapshot(); s.Items != 1 || len(s.Apps)+len(s.Credentials) != 1 {
		t.Errorf("%d items, %d apps", s.Items, len(s.Apps)+len(s.Credentials))
	}
}

// untilMade starts anew after each failure and remembers nothing, as after a crash.
func untilMade(t *testing.T, e *portaltest.Emulator) AppRecord {
	for try := 1; ; try++ {
		c := newTestClient(t, e, Options{Limits: Limits{Retries: -1}})
		app, err := createOnce(t, c, portaltest.AdminUser, "rotatord-01J")
		if err == nil && app.App.ClientID != "" {
			return app
		}
		if _, ok := errors.AsType[*rotate.Error](err); !ok || try > 6 {
			t.Fatalf("try %d: %v", try, err)
		}
		time.Sleep(settleTime)
	}
}

func TestSortOut(t *testing.T) {
	bare := func(id string) Details { return Details{Item: rotate.ItemID(id)} }
	app := func(id string) Details { return Details{Item: rotate.ItemID(id), HasApp: true} }
	for _, row := range []struct {
		found []Details
		keep  string
		extra int
		plain bool
	}{
		{nil, "", 0, true},
		{[]Details{bare("a")}, "a", 0, true},
		{[]Details{bare("a"), bare("b"), bare("c")}, "a", 2, true},
		{[]Details{bare("a"), app("b"), bare("c")}, "b", 2, true},
		{[]Details{app("a"), bare("b"), app("c")}, "", 0, false},
	} {
		before := len(row.found)
		keep, extra, plain := SortOut(row.found)
		if string(keep.Item) != row.keep || len(extra) != row.extra || plain != row.plain || len(row.found) != before {
			t.Errorf("%+v: got %s, %d, %t", row.found, keep.Item, len(extra), plain)
		}
		for _, d := range extra {
			if d.Item == keep.Item || d.HasApp {
				t.Errorf("%+v: %s is to be deleted", row.found, d.Item)
			}
		}
	}
}
