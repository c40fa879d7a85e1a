package report

// Advisory is what a scanner's report says about a dependency.
type Advisory struct {
	// ID is the advisory's identifier, Package the dependency's name. Version is the
	// one that was scanned; empty when the report names a range only.
	ID, Package, Version string
}

// Advisories reads the dependencies of a report that are known to be vulnerable.
// The report may have any format of report.findings; one that does not show that
// anything was scanned is an error.
func Advisories(text []byte) ([]Advisory, error) {
	s, err := parseScan(text, "")
	if err != nil {
		return nil, err
	}
	var out []Advisory
	for _, f := range s.findings {
		if f.Package != "" && !f.Suppressed {
			out = append(out, Advisory{ID: f.ID, Package: f.Package, Version: f.Version})
		}
	}
	return out, nil
}
