package config

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
)

// socketLine finds an admin socket in a text that is no YAML. No other key is called so.
var socketLine = regexp.MustCompile(`(?m)^[^#\n]*\bsocket:[ \t]*['"]?([^'"\s,}#]*)`)

// SocketOf is the admin socket that a file names, also one that is refused for something
// else: the daemon behind it runs on the config before, and its answers are wanted most
// when the file is broken. False where the file does not say.
func SocketOf(path string) (string, bool, error) {
	src, err := os.ReadFile(path)
	if err != nil {
		return "", false, fmt.Errorf("read config: %w", err)
	}
	d := newDocument(path, src)
	root := d.load()
	if root == nil {
		found := socketLine.FindAllSubmatch(src, -1)
		if len(found) == 0 {
			return defaultSocket(), true, nil
		}
		said := string(found[0][1])
		return said, len(found) == 1 && filepath.IsAbs(said), nil
	}
	var a Admin
	for i := 0; i+1 < len(root.Content); i += 2 {
		if root.Content[i].Value == "admin" {
			d.decode(root.Content[i+1], reflect.ValueOf(&a).Elem(), "admin", field{})
		}
	}
	if d.broken["admin"] || d.broken["admin.socket"] {
		return "", false, nil
	}
	if a.Socket == "" {
		return defaultSocket(), true, nil
	}
	return string(a.Socket), true, nil
}

func defaultSocket() string {
	var a Admin
	newDocument("", nil).fill(reflect.ValueOf(&a).Elem(), "admin")
	return string(a.Socket)
}
