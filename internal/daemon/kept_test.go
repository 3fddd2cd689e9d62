package daemon

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"

	"rotatord/internal/rotate"
)

func atRest() rotate.Record {
	at := time.Date(2026, 11, 22, 10, 0, 0, 123, time.UTC)
	r := rotate.Record{Name: "maps", ID: rotate.ID{Portal: "p", Item: "i"}, Epoch: 7, Owner: "gis", ClientID: "c", Referrer: "https://a.example",
		AdoptedAt: at, RebuiltAt: at.Add(1), Phase: rotate.PhaseIdle, PromotedAt: at.Add(2), RetireAt: at.Add(3), ProbedAt: at.Add(4), SurveyedAt: at.Add(5),
		Due: rotate.ReasonExpiring, Blocked: rotate.ReasonWindow, NextAt: at.Add(6), TopGeneration: 9, Offset: -time.Second, DatesDiffer: "item, probe"}
	for i, slot := range rotate.Slots() {
		key := rotate.KeyFacts{Slot: slot, Fingerprint: "AT1_x", Generation: int64(8 + i), Expires: at.Add(7), LatestExpiry: at.Add(8), MintedAt: at.Add(9)}
		r.Slots[slot] = rotate.SlotState{Use: rotate.UseLive, Key: key, Asked: at.Add(10), Since: at.Add(11), Intent: &rotate.Intent{SentAt: at},
			Taken: i == 0, Told: i == 1, Active: true, Expires: at.Add(12), SeenAt: at.Add(13), Listed: at.Add(14)}
	}
	r.Live, r.Previous = r.Slots[1].Key, r.Slots[2].Key
	return r
}

// TestKeepLosesNothing sets each field of a record, and of what it is made of, one at a
// time, those of later versions included: what comes back is the same.
func TestKeepLosesNothing(t *testing.T) {
	for name, r := range map[string]rotate.Record{"nothing": {}, "at rest": atRest()} {
		if diff := cmp.Diff(r, keep(&r).record()); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	fields := 0
	eachField(reflect.TypeFor[rotate.Record](), nil, func(path []int) {
		fields++
		for _, r := range []rotate.Record{{}, atRest()} {
			v := reflect.ValueOf(&r).Elem()
			var where strings.Builder
			for _, i := range path {
				if v.Kind() == reflect.Array {
					v = v.Index(i)
					continue
				}
				where.WriteString("." + v.Type().Field(i).Name)
				v = v.Field(i)
			}
			change(t, v)
			if diff := cmp.Diff(r, keep(&r).record()); diff != "" {
				t.Errorf("%s %v: %s", where.String(), path, diff)
			}
		}
	})
	if fields < 80 {
		t.Errorf("only %d fields were tried", fields)
	}
}

// eachField calls f with the path of every field that is no struct itself.
func eachField(t reflect.Type, path []int, f func(path []int)) {
	switch {
	case t == reflect.TypeFor[time.Time]() || t.Kind() != reflect.Struct && t.Kind() != reflect.Array:
		f(path)
	case t.Kind() == reflect.Array:
		for i := range t.Len() {
			eachField(t.Elem(), append(slices.Clip(path), i), f)
		}
	default:
		for i := range t.NumField() {
			eachField(t.Field(i).Type, append(slices.Clip(path), i), f)
		}
	}
}

// change a field to what it is not anywhere else.
func change(t *testing.T, v reflect.Value) {
	t.Helper()
	switch v.Kind() {
	case reflect.String:
		v.SetString("something else")
	case reflect.Int, reflect.Int64:
		v.SetInt(4711)
	case reflect.Uint8:
		v.SetUint(2)
	case reflect.Bool:
		v.SetBool(!v.Bool())
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
	case reflect.Struct:
		v.Set(reflect.ValueOf(time.Date(2031, 1, 2, 3, 4, 5, 6, time.UTC)))
	default:
		t.Fatalf("no other value is known for a %s", v.Type())
	}
}

func TestKeepAtRest(t *testing.T) {
	r := atRest()
	k := keep(&r)
	if k.rest == nil || k.full != nil {
		t.Error("a record at rest is kept whole")
	}
	if k.phase() != r.Phase || k.epoch() != r.Epoch || !k.expires().Equal(r.Live.Expires) || k.due() != r.Due {
		t.Errorf("got %s, %d, %s, %s", k.phase(), k.epoch(), k.expires(), k.due())
	}
	if small, whole := unsafe.Sizeof(resting{}), unsafe.Sizeof(r); small*5 > whole*2 {
		t.Errorf("a record at rest takes %d bytes of %d: is it worth it still?", small, whole)
	}
	r.Rotation = &rotate.Rotation{ID: "x"}
	k = keep(&r)
	if k.rest != nil || k.full == nil {
		t.Error("a rotation is not kept whole")
	}
	if k.phase() != r.Phase || k.epoch() != r.Epoch || !k.expires().Equal(r.Live.Expires) || k.due() != r.Due {
		t.Errorf("got %s, %d, %s, %s", k.phase(), k.epoch(), k.expires(), k.due())
	}
}

func TestKeepStrangeTimes(t *testing.T) {
	for name, at := range map[string]time.Time{"1970": time.Unix(0, 0).UTC(), "before all": time.Date(1, 1, 1, 0, 0, 0, 1, time.UTC), "far": time.Date(2300, 1, 1, 0, 0, 0, 0, time.UTC)} {
		r := atRest()
		r.Slots[2].Key.MintedAt = at
		if got := keep(&r).record().Slots[2].Key.MintedAt; !got.Equal(at) {
			t.Errorf("%s: got %s, want %s", name, got, at)
		}
	}
	r := atRest()
	r.ProbedAt = time.Now()
	if got := keep(&r).record().ProbedAt; !got.Equal(r.ProbedAt) || got.Location() != time.UTC {
		t.Errorf("got %s, want %s in UTC", got, r.ProbedAt)
	}
}
