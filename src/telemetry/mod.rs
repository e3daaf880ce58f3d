//! Log set-up, metric names, fail points.
