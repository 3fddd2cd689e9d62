package portal

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"rotatord/internal/rotate"
)

// asked is one request of a test: when it comes, how long it waits at most and how long
// it keeps its permit.
type asked struct {
	urgency   rotate.Urgency
	at        time.Duration
	patience  time.Duration // 0: for ever
	keeps     time.Duration
	permitted time.Duration // what came of it; negative: gave up
	left      time.Duration
}

// ask runs one request against the queue.
func (a *asked) run(ctx context.Context, q *queue, start time.Time, log func(*asked)) error {
	time.Sleep(a.at) // fake time
	if a.patience > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, a.patience)
		defer cancel()
	}
	turned, err := q.acquire(ctx, a.urgency)
	a.left = time.Since(start)
	if err != nil || turned {
		a.permitted = -1
		if a.patience == 0 {
			return fmt.Errorf("a request with nothing to stop it was refused: %w (turned away: %t)", err, turned)
		}
		if got := a.left - a.at; got != a.patience {
			return fmt.Errorf("a request whose context ended after %s left after %s", a.patience, got)
		}
		return nil
	}
	a.permitted = a.left
	log(a)
	time.Sleep(a.keeps)
	q.release()
	return nil
}

// In any mix of requests: never more at once and never sooner after one another than
// allowed, nobody passes somebody more urgent who was there, nobody is forgotten, who
// gives up leaves at once, and in the end every permit is back.
func TestQueueProperties(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		q := &queue{atOnce: rapid.IntRange(1, 4).Draw(rt, "at once"), patience: time.Hour,
			interval: time.Duration(rapid.IntRange(0, 3).Draw(rt, "interval")) * 100 * time.Millisecond}
		all := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) *asked {
			a := &asked{urgency: rapid.SampledFrom(rotate.Urgencies()).Draw(rt, "urgency"),
				at:    time.Duration(rapid.IntRange(0, 20).Draw(rt, "at"))*100*time.Millisecond + time.Millisecond,
				keeps: time.Duration(rapid.IntRange(1, 30).Draw(rt, "keeps")) * 50 * time.Millisecond}
			if rapid.Bool().Draw(rt, "impatient") {
				a.patience = time.Duration(rapid.IntRange(1, 40).Draw(rt, "patience"))*100*time.Millisecond + 3*time.Microsecond
			}
			return a
		}), 1, 25).Draw(rt, "requests")
		var problems []string
		synctest.Test(t, func(t *testing.T) { problems = tryQueue(t.Context(), q, all) })
		for _, p := range problems {
			rt.Error(p)
		}
	})
}

func tryQueue(ctx context.Context, q *queue, all []*asked) (problems []string) {
	var (
		mu    sync.Mutex
		order []*asked
		group sync.WaitGroup
	)
	say := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	start := time.Now()
	for _, a := range all {
		group.Go(func() {
			err := a.run(ctx, q, start, func(a *asked) {
				mu.Lock()
				defer mu.Unlock()
				order = append(order, a)
			})
			if err != nil {
				mu.Lock()
				defer mu.Unlock()
				say("%v", err)
			}
		})
	}
	group.Wait()
	if s := q.standing(time.Now()); s.UnderWay != 0 || len(q.waiting) != 0 {
		say("%d permits were not given back, %d still wait", s.UnderWay, len(q.waiting))
	}
	for _, a := range order {
		busy := 0
		for _, b := range order {
			if b.permitted <= a.permitted && a.permitted < b.permitted+b.keeps {
				busy++
			}
			if gap := (a.permitted - b.permitted).Abs(); a != b && gap < q.interval {
				say("permits %s apart, want %s at least", gap, q.interval)
			}
		}
		if busy > q.atOnce {
			say("%d at once, want %d at most", busy, q.atOnce)
		}
		for _, b := range all {
			waits := b.at < a.permitted && b.left > a.permitted // strictly: at the same instant either may be first
			passed := b.urgency < a.urgency || b.urgency == a.urgency && b.at < a.at
			if waits && passed && a.at < a.permitted {
				say("%s of %s got its permit at %s, before %s of %s", a.urgency, a.at, a.permitted, b.urgency, b.at)
			}
		}
	}
	return problems
}

// turns runs one request after the other through a queue of one, and tells in which
// order those of the list were served that came while it was busy for so long.
func turns(t *testing.T, q *queue, busy time.Duration, list []asked) []string {
	t.Helper()
	var (
		mu    sync.Mutex
		got   []string
		group sync.WaitGroup
	)
	if turned, err := q.acquire(t.Context(), rotate.UrgencyIdle); turned || err != nil {
		t.Fatalf("an empty queue refused: %v", err)
	}
	for i := range list {
		a := &list[i]
		group.Go(func() {
			err := a.run(t.Context(), q, time.Now(), func(a *asked) {
				mu.Lock()
				defer mu.Unlock()
				got = append(got, fmt.Sprintf("%s@%s", a.urgency, a.at))
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	time.Sleep(busy) // fake time
	q.release()
	group.Wait()
	return got
}

func TestTheMostUrgentGoesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var list []asked
		for i, u := range slices.Backward(rotate.Urgencies()) {
			list = append(list, asked{urgency: u, at: time.Duration(10-i) * time.Second, keeps: time.Second},
				asked{urgency: u, at: time.Duration(20-i) * time.Second, keeps: time.Second})
		}
		got := turns(t, &queue{atOnce: 1}, 25*time.Second, list)
		want := []string{"order@10s", "order@20s", "holding@9s", "holding@19s", "cut_over@8s", "cut_over@18s", "dying@7s", "dying@17s",
			"open@6s", "open@16s", "idle@5s", "idle@15s", "survey@4s", "survey@14s"}
		if !slices.Equal(got, want) {
			t.Errorf("served %v\nwant   %v", got, want)
		}
	})
}

// A portal that is asked more than it bears serves even surveys in the end, but nothing
// below a dying key ever passes it.
func TestNobodyStarves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := []asked{{urgency: rotate.UrgencySurvey, at: time.Second, keeps: time.Second}, {urgency: rotate.UrgencyIdle, at: time.Second, keeps: time.Second}}
		for i := range 300 { // one a second, each of which takes one
			list = append(list, asked{urgency: rotate.UrgencyOpen, at: time.Duration(i)*time.Second + time.Millisecond, keeps: time.Second})
		}
		turns(t, &queue{atOnce: 1}, 10*time.Second, list)
		if got := list[1].permitted; got < 31*time.Second || got > 45*time.Second {
			t.Errorf("idle waited until %s, want its patience of 30s and what was before it", got)
		}
		if got := list[0].permitted; got < 121*time.Second || got > 135*time.Second {
			t.Errorf("the survey waited until %s, want its patience of 2m and what was before it", got)
		}
		for i := range list[2:] {
			list[2+i].urgency = rotate.UrgencyDying
		}
		turns(t, &queue{atOnce: 1}, 10*time.Second, list)
		if list[0].permitted < 300*time.Second || list[1].permitted < 300*time.Second {
			t.Errorf("survey at %s and idle at %s passed a dying key", list[0].permitted, list[1].permitted)
		}
	})
}

func TestAPauseIsWaitedForOrTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &queue{atOnce: 2, patience: 10 * time.Second}
		start := time.Now()
		q.pause(start.Add(7 * time.Second))
		if got := q.pause(start.Add(5 * time.Second)); got != 0 {
			t.Errorf("a shorter pause extended a longer one by %s", got)
		}
		if turned, err := q.acquire(t.Context(), rotate.UrgencyIdle); turned || err != nil || time.Since(start) != 7*time.Second {
			t.Fatalf("got %v after %s, want a permit after 7s", err, time.Since(start))
		}
		q.pause(time.Now().Add(5 * time.Second))
		var group sync.WaitGroup
		group.Go(func() {
			if turned, err := q.acquire(t.Context(), rotate.UrgencyIdle); !turned || err != nil {
				t.Errorf("got %v, want to be turned away by a pause that grew too long", err)
			}
		})
		synctest.Wait()
		began := time.Now()
		q.pause(began.Add(time.Hour))
		group.Wait()
		_, err := q.acquire(t.Context(), rotate.UrgencyOrder)
		wantKind(t, err, limited, "")
		if wait := rotate.WaitOf(err); wait != time.Hour || time.Since(began) != 0 {
			t.Errorf("told to wait %s after %s, want an hour and at once", wait, time.Since(began))
		}
	})
}

// TestWaitsAreCounted: by who had to wait and for how long, whether the wait ended with a
// permit, with patience or by being turned away.
func TestWaitsAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &queue{atOnce: 1, patience: time.Hour}
		acquire := func(ctx context.Context) { _, _ = q.acquire(ctx, rotate.UrgencyIdle) }
		acquire(t.Context()) // at once
		if s := q.standing(time.Now()); s.Waits != 0 || s.Waited != 0 {
			t.Errorf("a permit that was free counts as %d waits of %s", s.Waits, s.Waited)
		}
		short, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		go acquire(short)       // gives up after 2 s
		go acquire(t.Context()) // gets its permit after 5 s
		time.Sleep(5 * time.Second)
		q.release()
		synctest.Wait()
		go acquire(t.Context()) // is turned away after 1 s
		time.Sleep(time.Second)
		q.clear()
		synctest.Wait()
		if s := q.standing(time.Now()); s.Waits != 3 || s.Waited != 8*time.Second {
			t.Errorf("%d waits of %s, want 3 of 8s", s.Waits, s.Waited)
		}
	})
}

// A permit that comes together with the end of its request's context is neither lost
// nor used, and what it took of the rate is given back.
func TestALatePermitIsNotLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &queue{atOnce: 1, patience: time.Minute, interval: time.Second}
		var used time.Duration // by the late one before: a second of the rate, or nothing
		for i := range 400 {
			began := time.Now()
			if turned, err := q.acquire(t.Context(), rotate.UrgencyIdle); turned || err != nil {
				t.Fatalf("round %d: %v", i, err)
			}
			if got := time.Since(began); got != used {
				t.Fatalf("round %d: a permit took %s, want %s", i, got, used)
			}
			used = 0
			ctx, cancel := context.WithCancel(t.Context())
			var group sync.WaitGroup
			group.Go(func() {
				if turned, err := q.acquire(ctx, rotate.UrgencyIdle); !turned && err == nil {
					used = time.Second // it was in time
					q.release()
				}
			})
			time.Sleep(time.Second) // fake time: the rate would allow the next one
			if i%2 == 0 {
				cancel()
				q.release()
			} else {
				q.release()
				cancel()
			}
			group.Wait()
			if s := q.standing(time.Now()); s.UnderWay != 0 {
				t.Fatalf("round %d: %d permits are out and nobody has one", i, s.UnderWay)
			}
		}
	})
}

func TestEqualsAreServedAsTheyCame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &queue{atOnce: 1, patience: time.Minute}
		if turned, err := q.acquire(t.Context(), rotate.UrgencyIdle); turned || err != nil {
			t.Fatal(err)
		}
		var (
			group sync.WaitGroup
			got   []int
		)
		for i := range 20 {
			group.Go(func() {
				if turned, err := q.acquire(t.Context(), rotate.UrgencyIdle); turned || err != nil {
					t.Errorf("%d: %v", i, err)
				}
				got = append(got, i) // nobody else has a permit
				q.release()
			})
			synctest.Wait() // all at one instant of the fake clock
		}
		q.release()
		group.Wait()
		if !slices.IsSorted(got) || len(got) != 20 {
			t.Errorf("served %v", got)
		}
	})
}
