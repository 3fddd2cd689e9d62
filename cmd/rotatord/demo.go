package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"rotatord/internal/rotate"
)

// demoDrain is how long a demo may take to finish what is open.
const demoDrain = 10 * time.Second

func (c *cli) demoCmd() *cobra.Command {
	var lasts time.Duration
	cmd := &cobra.Command{Use: "demo", Short: "Watch whole rotations on emulated portals, within a minute",
		Long: "Starts an emulated portal of each ArcGIS product in this process, with keys that live for seconds, and rotates them into\n" +
			"files of a temporary folder, while consumers use the served keys all the time. It needs nothing and leaves nothing.\n" +
			"With VAULT_ADDR and VAULT_TOKEN set it writes to that Vault (secret/rotatord-demo/) instead.\n\n" +
			"Ends with --for or Ctrl-C: open rotations are finished first. Ends with 0 only if no consumer request failed, every\n" +
			"credential was rotated, and no key was left behind.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.demo(cmd.Context(), lasts) }}
	cmd.Flags().DurationVar(&lasts, "for", 0, "end after so long; until Ctrl-C if left out")
	return cmd
}

// demoResult is the last line of a demo.
type demoResult struct {
	Credentials      int `json:"credentials"`
	Rotations        int `json:"rotations"`  // every sink serves a new key, and there was one before
	Bootstraps       int `json:"bootstraps"` // the first key of an empty credential
	Retired          int `json:"retired"`    // old keys that were invalidated after their overlap
	ConsumerRequests int `json:"consumer_requests"`
	ConsumerFailures int `json:"consumer_failures"`
	Orphans          int `json:"orphans"` // valid keys that no sink serves, after the drain

	PortalRequests            int     `json:"portal_requests"`
	PortalRequestsPerRotation float64 `json:"portal_requests_per_rotation"` // the rotation's own steps, bootstraps counted as rotations
	SafetyRequestsPerRotation float64 `json:"safety_requests_per_rotation"` // fresh reads before a mint or revoke
	ProbeRequests             int     `json:"probe_requests"`
	SurveyRequests            int     `json:"survey_requests"`
	SignIns                   int     `json:"sign_ins"`

	Seconds float64 `json:"seconds"`
	// Failed lists what went wrong; the exit code is 0 only where it is empty.
	Failed []string `json:"failed"`
}

func (c *cli) demo(ctx context.Context, lasts time.Duration) (err error) {
	dir, err := os.MkdirTemp("", "rotatord-demo-")
	if err != nil {
		return fmt.Errorf("make a folder for the demo: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if c.logLevel == "" {
		c.logLevel = "error" // the demo itself tells what happens
	}
	log, err := c.logger(nil)
	if err != nil {
		return err
	}
	show := newDemoShow(c)
	w, err := newDemoWorld(ctx, dir, log, show)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	result, err := w.run(ctx, lasts, show)
	if err != nil {
		return err
	}
	if err := c.showDemo(result); err != nil {
		return err
	}
	if len(result.Failed) > 0 {
		return &exitError{code: exitFailed}
	}
	return nil
}

// run the demo: rotate until the time is up, drain, count.
func (w *demoWorld) run(ctx context.Context, lasts time.Duration, show *demoShow) (demoResult, error) {
	began := time.Now()
	work, stop := context.WithCancel(context.WithoutCancel(ctx)) // a signal drains first
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- w.daemon.Run(work) }()
	consumers := w.startConsumers(work)
	drawn := make(chan struct{})
	go func() {
		defer close(drawn)
		show.draw(work, w)
	}()
	if err := waitFor(ctx, lasts, ended); err != nil {
		stop()
		consumers.Wait()
		<-drawn
		return demoResult{}, err
	}
	show.note("draining: open rotations are finished, none is started")
	drain, cancel := context.WithTimeout(work, demoDrain)
	drainErr := w.daemon.Drain(drain)
	cancel()
	w.stopConsumers()
	consumers.Wait()
	orphans, countErr := w.orphans(work)
	stop()
	runErr := <-ended
	<-drawn
	r := w.result(time.Since(began), orphans)
	for _, err := range []error{drainErr, countErr, runErr} {
		if err != nil {
			r.Failed = append(r.Failed, err.Error())
		}
	}
	return r, nil
}

// waitFor the end of the demo's time, or a signal, or a daemon that ends by itself.
func waitFor(ctx context.Context, lasts time.Duration, ended <-chan error) error {
	var over <-chan time.Time
	if lasts > 0 {
		timer := time.NewTimer(lasts)
		defer timer.Stop()
		over = timer.C
	}
	select {
	case <-ctx.Done():
	case <-over:
	case err := <-ended:
		return fmt.Errorf("the demo's daemon ended: %w", err)
	}
	return nil
}

func (w *demoWorld) result(took time.Duration, orphans int) demoResult {
	requests := w.requests()
	r := demoResult{Credentials: len(w.credentials), Orphans: orphans, Seconds: took.Round(time.Millisecond).Seconds(), Failed: []string{},
		ProbeRequests: requests[rotate.PurposeProbe], SurveyRequests: requests[rotate.PurposeSurvey], SignIns: requests[rotate.PurposeSignIn]}
	for _, n := range requests {
		r.PortalRequests += n
	}
	for _, m := range w.credentials {
		done := w.show.counts(m.Name)
		r.Rotations += done.rotations
		r.Bootstraps += done.bootstraps
		r.Retired += done.retired
		requests, failures := m.consumer.counts()
		r.ConsumerRequests += requests
		r.ConsumerFailures += failures
		if done.rotations == 0 {
			r.Failed = append(r.Failed, fmt.Sprintf("%s was not rotated", m.Name))
		}
		if failures > 0 {
			r.Failed = append(r.Failed, fmt.Sprintf("%s: %s of the consumer failed; the last: %s", m.Name, plural(failures, "request"), m.consumer.lastFailure()))
		}
	}
	if orphans > 0 {
		r.Failed = append(r.Failed, plural(orphans, "orphan")+" left behind")
	}
	if all := r.Rotations + r.Bootstraps; all > 0 {
		r.PortalRequestsPerRotation = perRotation(requests[rotate.PurposeProtocol], all)
		r.SafetyRequestsPerRotation = perRotation(requests[rotate.PurposeSafety], all)
	}
	return r
}

// perRotation with two decimals.
func perRotation(requests, rotations int) float64 {
	return float64(requests*100/rotations) / 100
}

func (c *cli) showDemo(r demoResult) error {
	if c.json {
		line, err := json.Marshal(r) // one line, so that "tail -n 1" has all of it
		if err != nil {
			return fmt.Errorf("write output: %w", err)
		}
		return c.print("%s\n", line)
	}
	err := c.print("\n%d credentials, %s and %s, %s; %d consumer requests, %d failed; %s left behind\n"+
		"%d portal requests: %.2f a rotation for its steps, %.2f for safety; %d probes, %d for surveys, %s\n",
		r.Credentials, plural(r.Rotations, "rotation"), plural(r.Bootstraps, "first key"), plural(r.Retired, "old key")+" retired",
		r.ConsumerRequests, r.ConsumerFailures, plural(r.Orphans, "key"),
		r.PortalRequests, r.PortalRequestsPerRotation, r.SafetyRequestsPerRotation, r.ProbeRequests, r.SurveyRequests, plural(r.SignIns, "sign-in"))
	for _, f := range r.Failed {
		c.say("failed: %s", f)
	}
	return err
}

// demoJournal is where a demo keeps its state.
func demoJournal(dir string) (string, error) {
	state := filepath.Join(dir, "state")
	if err := os.Mkdir(state, 0o700); err != nil {
		return "", fmt.Errorf("make the demo's state folder: %w", err)
	}
	return state, nil
}

var _ rotate.Observer = (*demoShow)(nil)
