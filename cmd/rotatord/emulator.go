package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"rotatord/internal/portal/portaltest"
)

// emulatorFlags of one emulator.
type emulatorFlags struct {
	listen, product, manner string
	switches                map[string]string
	latency                 time.Duration
	maxInFlight, rate       int
	seed                    uint64
	credentials             int
	minted                  bool
	lifetime                time.Duration
}

func (c *cli) emulatorCmd() *cobra.Command {
	var e emulatorFlags
	cmd := &cobra.Command{Use: "emulator", Short: "Run an emulated ArcGIS portal, for tests and trials",
		Long: "Serves one organisation of one ArcGIS product on this machine: accounts, items, credentials, keys, sign-in, search.\n" +
			"Its accounts have a well-known password, so it listens on a loopback address only. docs/emulator.md lists switches,\n" +
			"faults and the control endpoints under /emulator/.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.emulator(cmd.Context(), e) }}
	f := cmd.Flags()
	f.StringVar(&e.listen, "listen", "127.0.0.1:8900", "loopback `ADDRESS`")
	f.StringVar(&e.product, "product", string(portaltest.Online), "one of "+productList())
	f.StringVar(&e.manner, "manner", "portal", "portal: as lenient as the real one; strict: refuse careless requests")
	f.StringToStringVar(&e.switches, "switch", nil, "set a switch, as in key_propagation=5s; may be repeated")
	f.DurationVar(&e.latency, "latency", 0, "how long each request takes")
	f.IntVar(&e.maxInFlight, "max-in-flight", 0, "refuse more requests at once; 0 is no limit")
	f.IntVar(&e.rate, "rate", 0, "requests a second that switch rate_limit allows; 0 is 20")
	f.Uint64Var(&e.seed, "seed", 0, "make ids and keys repeatable; 0 draws them at random")
	f.IntVar(&e.credentials, "credentials", 3, "how many credentials there are at the start")
	f.BoolVar(&e.minted, "minted", false, "the credentials have a key in slot 1 at the start")
	f.DurationVar(&e.lifetime, "lifetime", 90*24*time.Hour, "of the keys made by --minted")
	return cmd
}

func productList() string {
	var all []string
	for _, p := range portaltest.Products() {
		all = append(all, string(p))
	}
	return strings.Join(all, ", ")
}

// emulatorReport says how to use a started emulator.
type emulatorReport struct {
	URL         string               `json:"url"`
	Product     portaltest.Product   `json:"product"`
	Username    string               `json:"username"`
	Password    string               `json:"password"`
	Credentials []emulatorCredential `json:"credentials"`
}

type emulatorCredential struct {
	Item  string `json:"item"`
	Title string `json:"title"`
}

func (e emulatorFlags) start() (*portaltest.Emulator, error) {
	product := portaltest.Product(productLabel(e.product))
	if !slices.Contains(portaltest.Products(), product) {
		return nil, usage("--product %s: want one of %s", e.product, productList())
	}
	host, _, err := net.SplitHostPort(e.listen)
	if ip := net.ParseIP(host); err != nil || host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, usage("--listen %s: want a loopback address with a port, as in 127.0.0.1:8900", e.listen)
	}
	em := portaltest.New(portaltest.Options{Product: product, Control: true, Latency: e.latency, MaxInFlight: e.maxInFlight,
		RateLimit: e.rate, Seed: e.seed})
	if err := em.SetSwitch(portaltest.SwitchManner, e.manner); err != nil {
		return nil, &exitError{exitUsage, err}
	}
	for name, value := range e.switches {
		if err := em.SetSwitch(name, value); err != nil {
			return nil, &exitError{exitUsage, err}
		}
	}
	return em, nil
}

func (c *cli) emulator(ctx context.Context, flags emulatorFlags) error {
	em, err := flags.start()
	if err != nil {
		return err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", flags.listen)
	if err != nil {
		return fmt.Errorf("start emulator: %w", err)
	}
	report := emulatorReport{URL: "http://" + listener.Addr().String(), Product: em.Product(), Username: portaltest.AdminUser,
		Password: portaltest.StandardPassword, Credentials: []emulatorCredential{}}
	for i := range flags.credentials {
		title := fmt.Sprintf("Emulated %d", i+1)
		seed := portaltest.CredentialSeed{Title: title, Minted: flags.minted}
		if flags.minted {
			seed.Expires[0] = time.Now().Add(flags.lifetime)
		}
		made := em.AddCredential(seed)
		report.Credentials = append(report.Credentials, emulatorCredential{Item: made.ItemID, Title: title})
	}
	if err := c.showEmulator(report); err != nil {
		return errors.Join(err, listener.Close())
	}
	return serveEmulator(ctx, em, listener)
}

func (c *cli) showEmulator(r emulatorReport) error {
	if c.json {
		return c.printJSON(r)
	}
	if err := c.print("%s emulated at %s, user %s, password %s\n", r.Product, r.URL, r.Username, r.Password); err != nil {
		return err
	}
	for _, cr := range r.Credentials {
		if err := c.print("  item %s  %s\n", cr.Item, cr.Title); err != nil {
			return err
		}
	}
	return nil
}

func serveEmulator(ctx context.Context, em *portaltest.Emulator, l net.Listener) error {
	server := &http.Server{Handler: em, ReadHeaderTimeout: 10 * time.Second}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	select {
	case err := <-served:
		return fmt.Errorf("serve emulator: %w", err)
	case <-ctx.Done():
	}
	err := server.Close() // an emulator owes nobody an answer
	if e := <-served; !errors.Is(e, http.ErrServerClosed) {
		err = errors.Join(err, e)
	}
	return err
}
