"""Sweeps over methods, numbers of time-steps and weight bits, in blocks of images, on processes or a Dask cluster.

``perform`` is the sweep as a function, ``command`` its command line. Nothing is imported here, so that
``refsnn --help`` stays quick.
"""
