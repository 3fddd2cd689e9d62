package portaltest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// controlPrefix is where the control endpoints live; they speak JSON both ways and need no sign-in.
const controlPrefix = "/emulator/"

type controlCommand func(body []byte) (any, error)

// controlTable maps "METHOD name" to what it does.
func (e *Emulator) controlTable() map[string]controlCommand {
	reading := func(f func() any) controlCommand { return func([]byte) (any, error) { return f(), nil } }
	return map[string]controlCommand{
		"GET state":        reading(func() any { return e.Snapshot() }),
		"GET switches":     reading(func() any { return e.Switches() }),
		"GET counters":     reading(e.counters),
		"GET violations":   reading(func() any { return orEmpty(e.Violations()) }),
		"GET events":       reading(func() any { return orEmpty(e.Events()) }),
		"GET keys":         reading(func() any { return orEmpty(e.Keys()) }),
		"GET faults":       reading(func() any { return orEmpty(e.Faults()) }),
		"GET clock":        reading(func() any { return obj{"now": e.Now()} }),
		"POST switches":    e.controlSwitches,
		"POST faults":      e.controlFault,
		"DELETE faults":    reading(func() any { e.ClearFaults(); return obj{"faults": 0} }),
		"POST late":        reading(func() any { return obj{"flushed": e.FlushLate()} }),
		"POST clock":       e.controlClock,
		"POST counters":    reading(func() any { e.ResetCounts(); return e.counters() }),
		"POST users":       e.controlUser,
		"POST credentials": e.controlCredential,
		"POST items":       e.controlItem,
	}
}

func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

func (e *Emulator) control(r *http.Request) outcome {
	run := e.controlTable()[r.Method+" "+strings.Trim(strings.TrimPrefix(r.URL.Path, controlPrefix), "/")]
	status, value := http.StatusOK, any(nil)
	if run == nil {
		status, value = http.StatusNotFound, obj{"error": "no such control endpoint"}
	} else {
		var body []byte
		var err error
		if r.Body != nil {
			body, err = io.ReadAll(io.LimitReader(r.Body, maxBody))
		}
		if err == nil {
			value, err = run(body)
		}
		if err != nil {
			status, value = http.StatusBadRequest, obj{"error": err.Error()}
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.answer(status, value)
}

func (e *Emulator) counters() any {
	total, peak := e.Requests()
	return obj{"requests": total, "peak_in_flight": peak, "operations": e.Counts()}
}

func (e *Emulator) controlSwitches(body []byte) (any, error) {
	var wanted map[string]string
	if err := json.Unmarshal(body, &wanted); err != nil {
		return nil, fmt.Errorf("read switches: %w", err)
	}
	var problems []error
	for name, value := range wanted {
		problems = append(problems, e.SetSwitch(name, value))
	}
	return e.Switches(), errors.Join(problems...)
}

// faultText is a Fault with its durations as text.
type faultText struct {
	Fault
	Delay      string `json:"delay"`
	RetryAfter string `json:"retry_after"`
	LateFor    string `json:"late_for"`
}

func (e *Emulator) controlFault(body []byte) (any, error) {
	var f faultText
	if err := json.Unmarshal(body, &f); err != nil {
		return nil, fmt.Errorf("read fault: %w", err)
	}
	for _, d := range []struct {
		text string
		to   *time.Duration
	}{{f.Delay, &f.Fault.Delay}, {f.RetryAfter, &f.Fault.RetryAfter}, {f.LateFor, &f.Fault.LateFor}} {
		if d.text == "" {
			continue
		}
		v, err := time.ParseDuration(d.text)
		if err != nil {
			return nil, fmt.Errorf("read fault: %w", err)
		}
		*d.to = v
	}
	id, err := e.Inject(f.Fault)
	return obj{"id": id}, err
}

func (e *Emulator) controlClock(body []byte) (any, error) {
	var move struct {
		Move string `json:"move"`
	}
	if err := json.Unmarshal(body, &move); err != nil {
		return nil, fmt.Errorf("read clock: %w", err)
	}
	d, err := time.ParseDuration(move.Move)
	if err != nil {
		return nil, fmt.Errorf("read clock: %w", err)
	}
	e.MoveClock(d)
	return obj{"now": e.Now()}, nil
}

func (e *Emulator) controlUser(body []byte) (any, error) {
	var u struct {
		User
		Password string `json:"password"`
	}
	if err := json.Unmarshal(body, &u); err != nil {
		return nil, fmt.Errorf("read user: %w", err)
	}
	if u.Username == "" {
		return nil, errors.New("read user: username is missing")
	}
	u.User.Password = u.Password
	e.AddUser(u.User)
	return u.User, nil
}

// controlCredential seeds a credential; the answer holds its client secret and keys, for whoever set the emulator up.
func (e *Emulator) controlCredential(body []byte) (any, error) {
	var s struct {
		Owner, Title, Folder        string
		Referrers, Privileges, Tags []string
		Expires                     [2]time.Time
		Minted                      bool
	}
	if err := json.Unmarshal(body, &s); err != nil {
		return nil, fmt.Errorf("read credential: %w", err)
	}
	known := s.Owner == ""
	for _, u := range e.Users() {
		known = known || u.Username == s.Owner
	}
	if !known {
		return nil, fmt.Errorf("read credential: no user %q", s.Owner)
	}
	c := e.AddCredential(CredentialSeed{Owner: s.Owner, Title: s.Title, Folder: s.Folder, Tags: s.Tags, Referrers: s.Referrers,
		Privileges: s.Privileges, Expires: s.Expires, Minted: s.Minted})
	return obj{"item_id": c.ItemID, "client_id": c.ClientID, "client_secret": c.ClientSecret, "owner": c.Owner, "keys": c.Keys}, nil
}
