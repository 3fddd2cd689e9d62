package npm

import (
	"bytes"
	"encoding/json"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"rotatord/internal/portal/portaltest"
	"rotatord/internal/testkit"
)

func TestStockClients(t *testing.T) {
	node, err := exec.LookPath("node")
	testkit.Need(t, err == nil, "node", "install Node.js 18 or later")
	here := filepath.Join(testkit.Root(t), "test", "npm")
	_, err = os.Stat(filepath.Join(here, "node_modules", "@esri", "arcgis-rest-portal"))
	testkit.Need(t, err == nil, "test/npm/node_modules", "make npm")

	for _, product := range []portaltest.Product{portaltest.LocationPlatform, portaltest.Online, portaltest.Enterprise114} {
		t.Run(string(product), func(t *testing.T) {
			t.Parallel()
			runConformance(t, node, here, product)
		})
	}
}

func runConformance(t *testing.T, node, here string, product portaltest.Product) {
	const redirect = "http://127.0.0.1:8123/back"
	e := portaltest.New(portaltest.Options{Product: product, Root: "/portal/sharing/rest"})
	app := e.AddOAuthApp(portaltest.AdminUser, "sign-in", "http://127.0.0.1/back")
	srv := httptest.NewServer(e)
	defer srv.Close()

	world, err := json.Marshal(map[string]string{"portal": srv.URL + e.Root(), "username": portaltest.AdminUser,
		"password": portaltest.StandardPassword, "oauthClient": app.ClientID, "redirectUri": redirect})
	if err != nil {
		t.Fatalf("encode world: %v", err)
	}
	cmd := exec.CommandContext(t.Context(), node, "conformance.mjs")
	cmd.Dir = here
	cmd.Env = append(os.Environ(), "WORLD="+string(world))
	var out, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problems
	if err := cmd.Run(); err != nil {
		t.Fatalf("run conformance.mjs: %v\n%s%s", err, out.String(), problems.String())
	}
	if !strings.HasSuffix(out.String(), "\ndone\n") {
		t.Errorf("conformance.mjs stopped early:\n%s", out.String())
	}
	counts := e.Counts()
	for _, op := range []portaltest.Op{portaltest.OpSignIn, portaltest.OpAddItem, portaltest.OpItem, portaltest.OpUpdateItem,
		portaltest.OpSearch, portaltest.OpDeleteItem, portaltest.OpMint, portaltest.OpProve, portaltest.OpOAuthToken} {
		if counts[op] == 0 {
			t.Errorf("the clients never reached %s", op)
		}
	}
	if counts[portaltest.OpUnknown] != 0 {
		t.Errorf("%d requests went to addresses that the emulator does not know", counts[portaltest.OpUnknown])
	}
}
