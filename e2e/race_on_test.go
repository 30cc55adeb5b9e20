//go:build race

package e2e

// buildFlags make the program under test watch for races if the test does.
var buildFlags = []string{"-race"}
