package main

import (
	"fmt"
	"os"
	"os/user"
	"strconv"
)

// ownGroup is a group that this process may give a socket to.
func ownGroup() (string, error) {
	g, err := user.LookupGroupId(strconv.Itoa(os.Getgid()))
	if err != nil {
		return "", fmt.Errorf("find own group: %w", err)
	}
	return g.Name, nil
}
