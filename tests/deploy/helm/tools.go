//go:build tools

// Names what is built here, so that go.mod and go.sum say exactly from what.
package tools

import _ "helm.sh/helm/v3/cmd/helm"
